/* The smallest program that stays: it sleeps until it is killed. No libc, as exit.c. */
void _start(void);

void _start(void)
{
	for (;;) {
#if defined(__x86_64__)
		__asm__ volatile("mov $34, %%eax\n\tsyscall" ::: "rax", "rcx", "r11", "memory"); /* pause(2) */
#elif defined(__aarch64__)
		/* ppoll(2) of nothing */
		__asm__ volatile("mov x0, #0\n\tmov x1, #0\n\tmov x2, #0\n\tmov x3, #0\n\tmov x8, #73\n\tsvc #0" ::
					 : "x0", "x1", "x2", "x3", "x8", "memory");
#else
#error "write pause() for this architecture"
#endif
	}
}
