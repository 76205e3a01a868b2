/* Print the real and the effective user: what a setuid bit has changed. */
#include <stdio.h>
#include <unistd.h>

int main(void)
{
    printf("%d %d\n", getuid(), geteuid());
    return 0;
}
