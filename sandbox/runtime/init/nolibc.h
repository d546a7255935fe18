/* System calls and the entry point without a C library, for the cell's PID 1 and for `enter`.
 *
 * Promises: a program of this header and its own code has no relocations, no data beyond its own, and no code that runs
 * before nolibc_main(). Every call returns what the kernel returned: a negative errno is a failure, there is no errno
 * variable. What it never does: hide a retry, allocate, install a signal handler.
 *
 * Registers of system calls: syscall(2), "Architecture calling conventions". Included by one file of a program only. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Called by _start with the stack as the kernel prepared it: argc, argv[], NULL, envp[], NULL. Its result is the exit
 * status. */
int nolibc_main(uintptr_t *stack);

__attribute__((noreturn)) void nolibc_start(uintptr_t *stack);

#if defined __x86_64__

__asm__(".text\n"
	".globl _start\n"
	".type _start, @function\n"
	"_start:\n"
	"	xor %ebp, %ebp\n" /* the ABI asks to mark the outermost frame */
	"	mov %rsp, %rdi\n"
	"	and $-16, %rsp\n"
	"	call nolibc_start\n"
	"	hlt\n"
	".size _start, . - _start\n");

static inline long sys4(long nr, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d)
{
	register uintptr_t r10 __asm__("r10") = d;
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
	return ret;
}

/* clone(2) with a stack of its own for the child, which calls @fn(@arg) there; @fn must not return. A child that shares
 * memory must not run on the parent's stack frame, which is why this cannot be an ordinary call of clone. */
static inline long sys_clone_call(unsigned long flags, void *stack_top, void (*fn)(void *), void *arg, long nr)
{
	register void (*r12)(void *) __asm__("r12") = fn; /* r12 and r13 are kept by the kernel */
	register void *r13 __asm__("r13") = arg;
	register long r10 __asm__("r10") = 0;
	register long r8 __asm__("r8") = 0;
	long ret;

	__asm__ volatile("syscall\n"
			 "	test %%rax, %%rax\n"
			 "	jnz 1f\n"
			 "	xor %%ebp, %%ebp\n"
			 "	mov %%r13, %%rdi\n"
			 "	call *%%r12\n"
			 "	ud2\n"
			 "1:\n"
			 : "=a"(ret)
			 : "0"(nr), "D"(flags), "S"(stack_top), "d"(0L), "r"(r10), "r"(r8), "r"(r12), "r"(r13)
			 : "rcx", "r11", "memory", "cc");
	return ret;
}

#elif defined __aarch64__

__asm__(".text\n"
	".globl _start\n"
	".type _start, %function\n"
	"_start:\n"
	"	mov x29, #0\n"
	"	mov x30, #0\n"
	"	mov x0, sp\n" /* 16-byte aligned by the kernel */
	"	bl nolibc_start\n"
	"	brk #1\n"
	".size _start, . - _start\n");

static inline long sys4(long nr, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d)
{
	register uintptr_t x0 __asm__("x0") = a;
	register uintptr_t x1 __asm__("x1") = b;
	register uintptr_t x2 __asm__("x2") = c;
	register uintptr_t x3 __asm__("x3") = d;
	register long x8 __asm__("x8") = nr;

	__asm__ volatile("svc #0" : "+r"(x0) : "r"(x1), "r"(x2), "r"(x3), "r"(x8) : "memory", "cc");
	return (long)x0;
}

static inline long sys_clone_call(unsigned long flags, void *stack_top, void (*fn)(void *), void *arg, long nr)
{
	register uintptr_t x0 __asm__("x0") = flags;
	register void *x1 __asm__("x1") = stack_top;
	register long x2 __asm__("x2") = 0;
	register long x3 __asm__("x3") = 0;
	register long x4 __asm__("x4") = 0;
	register long x8 __asm__("x8") = nr;
	register void (*x19)(void *) __asm__("x19") = fn; /* the kernel keeps every register but x0 */
	register void *x20 __asm__("x20") = arg;

	__asm__ volatile("svc #0\n"
			 "	cbnz x0, 1f\n"
			 "	mov x29, #0\n"
			 "	mov x0, x20\n"
			 "	blr x19\n"
			 "	brk #1\n"
			 "1:\n"
			 : "+r"(x0)
			 : "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x8), "r"(x19), "r"(x20)
			 : "memory", "cc");
	return (long)x0;
}

#else
#error "nolibc.h: the registers of this architecture's system calls are missing here"
#endif

/* So that a call reads as a call: pointers and integers of any type, up to four. */
#define SYS_ARG(x)                      ((uintptr_t)(x))
#define SYS_PICK(a, b, c, d, e, f, ...) f
#define SYS0(nr)                        sys4((nr), 0, 0, 0, 0)
#define SYS1(nr, a)                     sys4((nr), SYS_ARG(a), 0, 0, 0)
#define SYS2(nr, a, b)                  sys4((nr), SYS_ARG(a), SYS_ARG(b), 0, 0)
#define SYS3(nr, a, b, c)               sys4((nr), SYS_ARG(a), SYS_ARG(b), SYS_ARG(c), 0)
#define SYS4(nr, a, b, c, d)            sys4((nr), SYS_ARG(a), SYS_ARG(b), SYS_ARG(c), SYS_ARG(d))
#define SYS(...)                        SYS_PICK(__VA_ARGS__, SYS4, SYS3, SYS2, SYS1, SYS0)(__VA_ARGS__)
