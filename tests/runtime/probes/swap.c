/* On the host: exchange two names in one folder, as fast as possible, until killed. Says "ready" first. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 4 || chdir(argv[1]))
        return 2;
    puts("ready");
    fflush(stdout);
    for (;;)
        renameat2(AT_FDCWD, argv[2], AT_FDCWD, argv[3], RENAME_EXCHANGE);
}
