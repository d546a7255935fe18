/* The smallest program there is: it ends. No libc, so that its own start costs nothing worth naming. */
void _start(void);

void _start(void)
{
#if defined(__x86_64__)
	__asm__ volatile("xor %%edi, %%edi\n\tmov $60, %%eax\n\tsyscall" ::: "memory");
#elif defined(__aarch64__)
	__asm__ volatile("mov x0, #0\n\tmov x8, #93\n\tsvc #0" ::: "memory");
#else
#error "write exit(0) for this architecture"
#endif
	__builtin_unreachable();
}
