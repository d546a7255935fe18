/* The program's entry: before the C library starts, the program executes itself again as protect.c would, and comes here
 * once more. Why so early: a static C library asks the CPU what it can by some twenty-five CPUID instructions, each of
 * which leaves a virtual machine (20 us each were seen, 0.5 ms in all), and applies the program's relocations; that would
 * be done twice for every create, run and exec.
 *
 * It is the fast path only. Whatever does not succeed here is left to oci_protect(), which has another way and can speak.
 *
 * No library, no relocation, no thread pointer (so no stack protector: tools/oci.mk) is there yet: plain system calls on
 * local variables. Registers: syscall(2), "Architecture calling conventions"; the initial stack: the ABI's "Process
 * Initialization": argc, argv[], NULL, envp[], NULL. */
#include "base/mem.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <stdint.h>
#include <sys/statfs.h>
#include <sys/syscall.h>

enum { ON_READ_ONLY = 1 /* ST_RDONLY of statvfs(3), which <sys/statvfs.h> has */ };

void oci_early(uintptr_t *stack);

#if defined __x86_64__

__asm__(".text\n"
	".globl oci_entry\n"
	".type oci_entry, @function\n"
	"oci_entry:\n"
	"	endbr64\n"
	"	mov %rsp, %rbx\n"
	"	mov %rdx, %r12\n" /* for atexit(3), by the ABI */
	"	mov %rsp, %rdi\n"
	"	and $-16, %rsp\n"
	"	call oci_early\n"
	"	mov %r12, %rdx\n"
	"	mov %rbx, %rsp\n"
	"	jmp _start\n"
	".size oci_entry, . - oci_entry\n");

static long call(long nr, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d, uintptr_t e)
{
	register uintptr_t r10 __asm__("r10") = d;
	register uintptr_t r8 __asm__("r8") = e;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	return ret;
}

#elif defined __aarch64__

__asm__(".text\n"
	".globl oci_entry\n"
	".type oci_entry, %function\n"
	"oci_entry:\n"
	"	mov x19, x0\n"
	"	mov x0, sp\n" /* 16-byte aligned by the kernel */
	"	bl oci_early\n"
	"	mov x0, x19\n"
	"	mov x29, #0\n"
	"	mov x30, #0\n"
	"	b _start\n"
	".size oci_entry, . - oci_entry\n");

static long call(long nr, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d, uintptr_t e)
{
	register uintptr_t x0 __asm__("x0") = a;
	register uintptr_t x1 __asm__("x1") = b;
	register uintptr_t x2 __asm__("x2") = c;
	register uintptr_t x3 __asm__("x3") = d;
	register uintptr_t x4 __asm__("x4") = e;
	register long x8 __asm__("x8") = nr;

	__asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
	return (long)x0;
}

#else
#error "write call() and oci_entry for this architecture"
#endif

static bool is_word(const char *s, const char *word)
{
	while (*s && *s == *word) {
		s++;
		word++;
	}
	return *s == *word;
}

/* Any such word among the arguments: which one is the command is known later, and a needless execution harms nobody. */
static bool makes_processes(char **argv)
{
	for (; *argv; argv++)
		if (is_word(*argv, "create") || is_word(*argv, "run") || is_word(*argv, "exec"))
			return true;
	return false;
}

static bool is_read_only(const char *self)
{
	UNINITIALIZED struct statfs fs;

	return call(SYS_statfs, (uintptr_t)self, (uintptr_t)&fs, 0, 0, 0) < 0 || (fs.f_flags & ON_READ_ONLY);
}

void oci_early(uintptr_t *stack)
{
	char **argv = (char **)(stack + 1), **envp = argv + stack[0] + 1;
	const struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY, .propagation = MS_PRIVATE};
	const char *self = "/proc/self/exe", *nothing = "";
	UNINITIALIZED char name[1024];
	char *called = argv[0];
	long tree, n;

	if (!makes_processes(argv) || is_read_only(self))
		return;
	tree = call(SYS_open_tree, (uintptr_t)AT_FDCWD, (uintptr_t)self, OPEN_TREE_CLONE, 0, 0);
	if (tree < 0)
		return;
	/* It stays open: protect.c knows when to close it. The mount has no name: oci_own_dir() has it from here. */
	n = call(SYS_readlinkat, (uintptr_t)AT_FDCWD, (uintptr_t)self, (uintptr_t)name, sizeof name - 1, 0);
	if (n > 0) {
		name[n] = '\0';
		argv[0] = name;
	}
	if (call(SYS_mount_setattr, (uintptr_t)tree, (uintptr_t)nothing, AT_EMPTY_PATH, (uintptr_t)&attr,
		 sizeof attr) == 0)
		(void)call(SYS_execveat, (uintptr_t)tree, (uintptr_t)nothing, (uintptr_t)argv, (uintptr_t)envp,
			   AT_EMPTY_PATH);
	argv[0] = called;
	(void)call(SYS_close, (uintptr_t)tree, 0, 0, 0, 0);
}
