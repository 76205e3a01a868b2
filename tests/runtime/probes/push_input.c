/* Try to push characters into the terminal's input, as if somebody had typed them (TIOCSTI, TIOCLINUX). */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

int main(void)
{
    char paste[] = {3, 0};
    for (const char *typed = "touch /pwned\n"; *typed; typed++)
        if (ioctl(0, TIOCSTI, typed)) {
            printf("TIOCSTI: %s\n", strerror(errno));
            break;
        }
    printf("TIOCLINUX: %s\n", ioctl(0, TIOCLINUX, paste) ? strerror(errno) : "allowed");
    return 0;
}
