/* Print for each address family whether a socket of it can be had: its number and the errno. */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
    static const int families[] = {AF_UNIX, AF_INET, AF_ALG, AF_VSOCK};
    for (int i = 0; i < 4; i++) {
        int fd = socket(families[i], families[i] == AF_ALG ? SOCK_SEQPACKET : SOCK_STREAM, 0);
        printf("%d %d\n", families[i], fd < 0 ? errno : 0);
        if (fd >= 0)
            close(fd);
    }
    return 0;
}
