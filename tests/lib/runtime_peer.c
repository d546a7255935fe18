#define TAP_NO_MAIN
#include "tests/lib/runtime_peer.h"

#include "tests/lib/tap.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static const char *const environment[] = {
	"AWS_LAMBDA_FUNCTION_NAME=shop",
	"AWS_LAMBDA_FUNCTION_VERSION=$LATEST",
	"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=512",
	NULL,
};

int runtime_start_with(struct chan_peer *p, unsigned flags, const char *function, const char *const *extra)
{
	const char *envp[16];
	size_t n = 0;
	char name[128];
	const char *argv[3] = {chan_peer_built("runtime/native"), function, NULL};

	if (!strchr(function, '/')) {
		(void)snprintf(name, sizeof name, "tests/functions/%s.so", function);
		argv[1] = chan_peer_built(name);
	}
	for (; environment[n]; n++)
		envp[n] = environment[n];
	while (extra && *extra && n < 15)
		envp[n++] = *extra++;
	envp[n] = NULL;
	return chan_peer_start(p, flags, argv, envp);
}

int runtime_start(struct chan_peer *p, const char *function)
{
	return runtime_start_with(p, 0, function, NULL);
}

bool runtime_start_ready(struct chan_peer *p, const char *function)
{
	struct chan_peer_frame f;

	return CHECK_EQ(runtime_start(p, function), 0) && CHECK_EQ(chan_peer_next(p, &f), 1) &&
	       CHECK_EQ(f.head.type, CHAN_READY);
}

static bool same_text(const void *bytes, size_t len, const char *text)
{
	bool ok = len == strlen(text) && memcmp(bytes, text, len) == 0;

	if (!ok)
		tap_note("  got '%.*s', wanted '%s'", (int)(len < 300 ? len : 300), (const char *)bytes, text);
	return ok;
}

bool expect_data(struct chan_peer *p, uint64_t number, const char *text)
{
	struct chan_peer_frame f;

	return CHECK_EQ(chan_peer_next(p, &f), 1) && CHECK_EQ(f.head.type, CHAN_DATA) &&
	       CHECK_EQ(f.head.call, number) && CHECK(same_text(f.body, f.head.len, text));
}

bool expect_done(struct chan_peer *p, uint64_t number)
{
	struct chan_peer_frame f;

	return CHECK_EQ(chan_peer_next(p, &f), 1) && CHECK_EQ(f.head.type, CHAN_DONE) && CHECK_EQ(f.head.call, number);
}

bool expect_error(struct chan_peer *p, uint16_t frame, const char *type, const char *message)
{
	struct chan_error_view v;
	struct chan_peer_frame f;
	char text[CHAN_MAX_MESSAGE + 1];

	if (!CHECK_EQ(chan_peer_next(p, &f), 1) || !CHECK_EQ(f.head.type, frame) ||
	    !CHECK_EQ(chan_error_parse(f.body, f.head.len, &v), 0))
		return false;
	(void)snprintf(text, sizeof text, "%.*s", (int)v.message_len, v.message);
	return CHECK(same_text(v.type, v.type_len, type)) && CHECK_CONTAINS(text, message);
}

bool call_text(struct chan_peer *p, uint64_t number, const char *event)
{
	return CHECK_EQ(chan_peer_call(p, number, event, strlen(event)), 0);
}

bool call_and_expect(struct chan_peer *p, uint64_t number, const char *event, const char *answer)
{
	return call_text(p, number, event) && expect_data(p, number, answer) && expect_done(p, number);
}

void expect_exit(struct chan_peer *p, int status)
{
	struct chan_peer_frame f;
	int got = chan_peer_wait(p);

	CHECK(got >= 0 && WIFEXITED(got));
	CHECK_EQ(WEXITSTATUS(got), status);
	CHECK_EQ(chan_peer_next(p, &f), 0);
}

int runtime_send_filter(struct chan_peer *p, const int *list, size_t n, uint32_t listed, uint32_t other)
{
	struct {
		struct chan_head head;
		struct sock_filter insns[64];
	} f = {.head = {.type = CHAN_FILTER}};
	size_t k = 0;

	f.insns[k++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < n; i++)
		f.insns[k++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)list[i],
							    (uint8_t)(n - i), 0);
	f.insns[k++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, other);
	f.insns[k++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, listed);
	f.head.len = (uint32_t)(k * sizeof f.insns[0]);
	return chan_peer_send(p, &f, sizeof f.head + f.head.len);
}

const int runtime_needed[RUNTIME_NEEDED] = {
	SYS_read,         SYS_write,          SYS_writev,       SYS_getpid,     SYS_gettid,
	SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_exit_group, SYS_tgkill,
	SYS_brk,          SYS_mmap,           SYS_munmap,       SYS_futex,      SYS_clock_gettime,
};
