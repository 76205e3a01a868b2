/* Tries every system call with invalid arguments (all bits set) and prints one letter for each:
 *
 *   x86_64 ..PP.N-...      . let through   P EPERM   N ENOSYS   S killed by a signal   - not tried
 *
 * Each try is a child of its own, so that neither a signal nor a change of state reaches the next.
 * Calls that would end, stop or copy the child, or wait for the disk, are not tried.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT 512
#define X32 0x40000000
#define ARRAY(...) (const int[]){__VA_ARGS__, -1}

/* rt_sigreturn pause fork vfork execve exit sync exit_group uretprobe uprobe */
#define SKIPPED_64 ARRAY(15, 34, 57, 58, 59, 60, 162, 231, 335, 336)
/* exit fork execve pause sync sigsuspend sigreturn rt_sigreturn vfork exit_group */
#define SKIPPED_32 ARRAY(1, 2, 11, 29, 36, 72, 119, 173, 190, 252)

static long native(long number, long first)
{
	return syscall(number, first, -1L, -1L, -1L, -1L, -1L) < 0 ? -errno : 0;
}

static long through_int80(long number, long first)
{
	long result;
#ifdef __x86_64__
	asm volatile("int $0x80" : "=a"(result)
		     : "a"(number), "b"(first), "c"(-1L), "d"(-1L), "S"(-1L), "D"(-1L)
		     : "memory", "r8", "r9", "r10", "r11");
#endif
	return (int)result;
}

static char verdict(long (*call)(long, long), long number, long first)
{
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		alarm(5);
		long result = call(number, first);
		_exit(result == -EPERM ? 'P' : result == -ENOSYS ? 'N' : '.');
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 'S';
}

static void probe(const char *name, long (*call)(long, long), long base, const int *skipped)
{
	char line[COUNT + 1] = {0};
	for (int number = 0; number < COUNT; number++) {
		const int *at = skipped;
		while (*at >= 0 && *at != number)
			at++;
		line[number] = *at >= 0 ? '-' : verdict(call, base + number, -1);
	}
	printf("%s %s\n", name, line);
	fflush(stdout);
}

int main(void)
{
	probe("x86_64", native, 0, SKIPPED_64);
	probe("x32", native, X32, SKIPPED_64);
	probe("x86", through_int80, 0, SKIPPED_32);
	char families[65] = {0};
	for (int family = 0; family < 64; family++)
		families[family] = verdict(native, SYS_socket, family);
	printf("socket %s\n", families);
	return 0;
}
