/* Makes system calls by the other doors of x86-64: "i386" by int 0x80, "x32" with the bit of that ABI. Answers
 * {"errno":…} of what is getpid there. */
#include "out.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

int fsbox_handler(fsbox_call *call)
{
	struct out o = {0};
	long r = -ENOSYS;

#ifdef __x86_64__
	if (event_has(call, "i386"))
		__asm__ volatile("int $0x80" : "=a"(r) : "0"(20L) : "memory", "r8", "r9", "r10", "r11");
	else
		r = syscall(0x40000000 | SYS_getpid) < 0 ? -errno : 0;
#endif
	out_text(&o, "{\"errno\":%ld}", r < 0 ? -r : 0);
	return out_answer(call, &o);
}
