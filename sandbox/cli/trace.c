#include "cli/trace.h"

#include "base/fd.h"
#include "base/str.h"

#include <fcntl.h>
#include <sys/mman.h>

struct cell_trace *trace_make(void)
{
	void *p = mmap(NULL, sizeof(struct cell_trace), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void trace_free(struct cell_trace *t)
{
	if (t)
		(void)munmap(t, sizeof *t);
}

int trace_write(const struct cell_trace *t, const char *file, struct err *e)
{
	AUTO_FD int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	struct buf b = {0};
	uint32_t n = t ? t->n : 0;
	int r;

	if (fd < 0)
		return err_sys(e, errno, "--trace '%s'", file);
	buf_puts(&b, "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n"
		     "{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":1,\"tid\":1,\"args\":{\"name\":\"host\"}},\n"
		     "{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":1,\"tid\":2,\"args\":{\"name\":\"cell\"}}");
	for (uint32_t i = 0; i < n && i < CELL_TRACE_MARKS; i++) {
		const struct cell_mark *m = &t->marks[i];
		uint64_t end = m->end_ns > m->begin_ns ? m->end_ns : m->begin_ns;

		buf_printf(
			&b,
			",\n{\"name\":\"%s\",\"cat\":\"stage\",\"ph\":\"X\",\"ts\":%.3f,\"dur\":%.3f,\"pid\":1,\"tid\":%d}",
			m->stage, (double)(m->begin_ns - t->marks[0].begin_ns) / 1e3, (double)(end - m->begin_ns) / 1e3,
			m->inside ? 2 : 1);
	}
	buf_puts(&b, "\n]}\n");
	r = b.failed ? err_oom(e) : fd_write_all(fd, b.data, b.len);
	if (r < 0)
		r = err_sys(e, r, "--trace '%s'", file);
	buf_done(&b);
	return r;
}
