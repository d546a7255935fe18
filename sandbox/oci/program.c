/* A seccomp filter that comes compiled (annotation run.oci.seccomp_bpf_data): instructions of classic BPF as
 * seccomp(2) takes them, in base64. The kernel checks them. */
#include "base/base64.h"
#include "oci/life.h"

#include <errno.h>
#include <linux/bpf_common.h>
#include <linux/seccomp.h>

/* Does some instruction answer with a question? What it returns from a register cannot be seen; then nobody listens. */
static bool program_asks(const struct filter *f)
{
	for (size_t i = 0; i < f->len; i++)
		if (f->insns[i].code == (BPF_RET | BPF_K) &&
		    (f->insns[i].k & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_USER_NOTIF)
			return true;
	return false;
}

int life_program(struct ct_seccomp *s, struct filter *ret, struct err *e)
{
	AUTO(buf_done) struct buf bytes = {0};
	const size_t size = sizeof *ret->insns;
	static const char where[] = "config.json: $.annotations[\"run.oci.seccomp_bpf_data\"]";

	if (!base64_decode(&bytes, s->program, strlen(s->program)))
		return err_where(e, err_set(e, ERR_SPEC, EINVAL, "not base64"), where);
	if (bytes.failed)
		return err_oom(e);
	if (bytes.len == 0 || bytes.len % size != 0 || bytes.len / size > BPF_MAXINSNS)
		return err_where(e, err_set(e, ERR_SPEC, EINVAL, "%zu bytes are no program", bytes.len), where);
	ret->insns = malloc(bytes.len);
	if (!ret->insns)
		return err_oom(e);
	memcpy(ret->insns, bytes.data, bytes.len);
	ret->len = bytes.len / size;
	ret->flags = s->policy.flags & ~SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
	s->asks = program_asks(ret);
	if (s->asks && !s->listener_path)
		return err_where(e, err_set(e, ERR_SPEC, EINVAL, "it asks a listener, and there is no listenerPath"),
				 where);
	if (s->asks)
		ret->flags = s->policy.flags | SECCOMP_FILTER_FLAG_NEW_LISTENER;
	return 0;
}
