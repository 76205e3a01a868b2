/* A dynamic loader that an image puts in the place of the real one: whoever is executed inside stays for a while. */
#ifdef __x86_64__
static long call(long number, const void *one, long two)
{
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(one), "S"(two) : "rcx", "r11", "memory");
    return result;
}
enum { NANOSLEEP = 35, EXIT_GROUP = 231 };
#else
static long call(long number, const void *one, long two)
{
    register long x8 __asm__("x8") = number;
    register const void *x0 __asm__("x0") = one;
    register long x1 __asm__("x1") = two;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1) : "memory");
    return (long)x0;
}
enum { NANOSLEEP = 101, EXIT_GROUP = 94 };
#endif

void _start(void)
{
    const long wait[2] = {0, 300000000};
    call(NANOSLEEP, wait, 0);
    call(EXIT_GROUP, 0, 0);
}
