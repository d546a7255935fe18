/* Which devices a container may use: v1's files, or a program of cgroup2 (BPF_PROG_TYPE_CGROUP_DEVICE).
 *
 * The rules are a history, as of writes to v1's devices.allow and devices.deny; for v2 they are played to what remains:
 * a default, and exceptions of the opposite kind (cgroup-v1/devices.rst; bpf(2)). */
#include "cgroup/internal.h"

#include "base/mem.h"

#include <fcntl.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

enum { ALL = BPF_DEVCG_ACC_MKNOD | BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE, ANY = -1 };

#define NUMBER(n)       \
	{               \
		true, n \
	}
/* What every container may: make nodes, and use those of config-linux.md, "Default Devices". */
static const struct ct_device_rule always[] = {
	{true, "c", .access = "m"},
	{true, "b", .access = "m"},
	{true, "c", NUMBER(1), NUMBER(3), "rwm"},  /* null */
	{true, "c", NUMBER(1), NUMBER(8), "rwm"},  /* random */
	{true, "c", NUMBER(1), NUMBER(7), "rwm"},  /* full */
	{true, "c", NUMBER(5), NUMBER(0), "rwm"},  /* tty */
	{true, "c", NUMBER(1), NUMBER(5), "rwm"},  /* zero */
	{true, "c", NUMBER(1), NUMBER(9), "rwm"},  /* urandom */
	{true, "c", NUMBER(136), .access = "rwm"}, /* pts */
	{true, "c", NUMBER(5), NUMBER(2), "rwm"},  /* ptmx */
};

static const struct ct_device_rule nothing = {.allow = false};

/* ---- v1 ---- */

static int write_v1(const struct cg_group *g, const struct cg_tree *t, const struct ct_device_rule *d, struct err *e)
{
	const char *file = d->allow ? "devices.allow" : "devices.deny";
	const char *access = d->access && d->access[0] ? d->access : "rwm";
	char major[24] = "*", minor[24] = "*", text[96];
	int r;

	if (d->major.set && d->major.v >= 0)
		(void)cg_format_u64(major, (uint64_t)d->major.v);
	if (d->minor.set && d->minor.v >= 0)
		(void)cg_format_u64(minor, (uint64_t)d->minor.v);
	if (!d->type || !d->type[0] || d->type[0] == 'a')
		(void)snprintf(text, sizeof text, "a");
	else
		(void)snprintf(text, sizeof text, "%c %s:%s %.3s", d->type[0], major, minor, access);
	r = cg_write_at(t->dir, file, text, strlen(text));
	return r < 0 ? err_sys(e, r, "writing '%s' to %s%s/%s", text, t->root, g->path, file) : 0;
}

/* ---- v2: what the history leaves ---- */

struct exception {
	int64_t major, minor; /* ANY */
	uint32_t type;        /* BPF_DEVCG_DEV_… */
	uint32_t access;      /* BPF_DEVCG_ACC_… */
};
struct verdict {
	bool allow; /* by default */
	struct exception *list;
	size_t n;
};

static uint32_t access_bits(const char *s)
{
	uint32_t bits = 0;

	for (; s && *s; s++)
		bits |= *s == 'r' ? BPF_DEVCG_ACC_READ : *s == 'w' ? BPF_DEVCG_ACC_WRITE : BPF_DEVCG_ACC_MKNOD;
	return bits ? bits : (uint32_t)ALL;
}

static bool same_place(const struct exception *a, const struct exception *b)
{
	return a->type == b->type && a->major == b->major && a->minor == b->minor;
}

static void play(struct verdict *v, const struct ct_device_rule *d)
{
	const struct exception x = {
		.major = d->major.set && d->major.v >= 0 ? d->major.v : ANY,
		.minor = d->minor.set && d->minor.v >= 0 ? d->minor.v : ANY,
		.type = d->type && d->type[0] == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR,
		.access = access_bits(d->access),
	};

	if (!d->type || !d->type[0] || d->type[0] == 'a') {
		v->allow = d->allow;
		v->n = 0;
		return;
	}
	for (size_t i = 0; i < v->n; i++)
		if (same_place(&v->list[i], &x)) {
			v->list[i].access = d->allow == v->allow ? v->list[i].access & ~x.access
								 : v->list[i].access | x.access;
			return;
		}
	if (d->allow != v->allow)
		v->list[v->n++] = x;
}

/* ---- v2: the program ---- */

struct program {
	struct bpf_insn *at;
	size_t n;
};

static void add(struct program *p, uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm)
{
	p->at[p->n++] =
		(struct bpf_insn){.code = code, .dst_reg = dst & 0xf, .src_reg = src & 0xf, .off = off, .imm = imm};
}

#define JUMP_K(op) (BPF_JMP | (op) | BPF_K)
#define MOVE_K     (BPF_ALU64 | BPF_MOV | BPF_K)
#define LOAD       (BPF_LDX | BPF_MEM | BPF_W)

static void add_exception(struct program *p, const struct exception *x, bool allow)
{
	const size_t access = x->access != (uint32_t)ALL ? 3 : 0;
	const size_t end = p->n + 1 + access + (x->major != ANY) + (x->minor != ANY) + 2;

#define TO_END ((int16_t)(end - p->n - 1))
	add(p, JUMP_K(BPF_JNE), 2, 0, TO_END, (int32_t)x->type);
	if (access) {
		add(p, BPF_ALU64 | BPF_MOV | BPF_X, 1, 3, 0, 0);
		add(p, BPF_ALU64 | BPF_AND | BPF_K, 1, 0, 0, (int32_t)x->access);
		/* Allowed is what is asked for as a whole; denied what is asked for in part. */
		if (allow)
			add(p, BPF_JMP | BPF_JNE | BPF_X, 1, 3, TO_END, 0);
		else
			add(p, JUMP_K(BPF_JEQ), 1, 0, TO_END, 0);
	}
	if (x->major != ANY)
		add(p, JUMP_K(BPF_JNE), 4, 0, TO_END, (int32_t)x->major);
	if (x->minor != ANY)
		add(p, JUMP_K(BPF_JNE), 5, 0, TO_END, (int32_t)x->minor);
	add(p, MOVE_K, 0, 0, 0, allow);
	add(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
#undef TO_END
}

static void write_program(struct program *p, const struct verdict *v)
{
	add(p, LOAD, 2, 1, offsetof(struct bpf_cgroup_dev_ctx, access_type), 0);
	add(p, BPF_ALU64 | BPF_MOV | BPF_X, 3, 2, 0, 0);
	add(p, BPF_ALU64 | BPF_RSH | BPF_K, 3, 0, 0, 16);
	add(p, BPF_ALU64 | BPF_AND | BPF_K, 2, 0, 0, 0xffff);
	add(p, LOAD, 4, 1, offsetof(struct bpf_cgroup_dev_ctx, major), 0);
	add(p, LOAD, 5, 1, offsetof(struct bpf_cgroup_dev_ctx, minor), 0);
	for (size_t i = 0; i < v->n; i++)
		if (v->list[i].access)
			add_exception(p, &v->list[i], !v->allow);
	add(p, MOVE_K, 0, 0, 0, v->allow);
	add(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static int bpf(int cmd, union bpf_attr *attr)
{
	long r = syscall(SYS_bpf, cmd, attr, sizeof *attr);

	return r < 0 ? -errno : (int)r;
}

static int attach(const struct cg_group *g, const struct cg_tree *t, const struct program *p, struct err *e)
{
	AUTO_FD int dir = openat(t->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	static const char license[] = "Apache-2.0";
	union bpf_attr load = {.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
			       .insns = (uintptr_t)p->at,
			       .insn_cnt = (uint32_t)p->n,
			       .license = (uintptr_t)license};
	AUTO_FD int prog = bpf(BPF_PROG_LOAD, &load);
	union bpf_attr to = {.target_fd = (uint32_t)dir,
			     .attach_bpf_fd = (uint32_t)prog,
			     .attach_type = BPF_CGROUP_DEVICE,
			     .attach_flags = BPF_F_ALLOW_MULTI};
	int r = dir < 0 ? -errno : prog < 0 ? prog : bpf(BPF_PROG_ATTACH, &to);

	return r < 0 ? err_sys(e, r, "device rules of cgroup %s%s", t->root, g->path) : 0;
}

/* The whole history, ours at its end. @list has room for r->n_devices + ARRAY_LEN(always). */
static struct verdict play_all(const struct ct_resources *r, struct exception *list)
{
	const size_t n = r->n_devices + ARRAY_LEN(always);
	struct verdict v = {.allow = r->n_devices > 0, .list = list};

	for (size_t i = 0; i < n; i++)
		play(&v, i < r->n_devices ? &r->devices[i] : &always[i - r->n_devices]);
	return v;
}

static int program_v2(const struct cg_group *g, const struct cg_tree *t, const struct ct_resources *r, struct err *e)
{
	const size_t n = r->n_devices + ARRAY_LEN(always);
	AUTO_FREE struct exception *list = calloc(n, sizeof *list);
	AUTO_FREE struct bpf_insn *insns = calloc(8 + 8 * n, sizeof *insns);
	struct program p = {.at = insns};
	struct verdict v;

	if (!list || !insns)
		return err_oom(e);
	v = play_all(r, list);
	if (v.allow && v.n == 0)
		return 0;
	write_program(&p, &v);
	return attach(g, t, &p, e);
}

int cg_devices_left(const struct ct_resources *r, bool *ret_allow, cg_device_fn *fn, void *arg, struct err *e)
{
	AUTO_FREE struct exception *list = calloc(r->n_devices + ARRAY_LEN(always), sizeof *list);
	struct verdict v;

	if (!list)
		return err_oom(e);
	v = play_all(r, list);
	*ret_allow = v.allow;
	for (size_t i = 0; i < v.n; i++) {
		const struct exception *x = &v.list[i];
		char access[4];
		size_t n = 0;

		if (x->access & BPF_DEVCG_ACC_READ)
			access[n++] = 'r';
		if (x->access & BPF_DEVCG_ACC_WRITE)
			access[n++] = 'w';
		if (x->access & BPF_DEVCG_ACC_MKNOD)
			access[n++] = 'm';
		access[n] = '\0';
		if (n > 0)
			fn(arg, x->type == BPF_DEVCG_DEV_BLOCK ? 'b' : 'c', x->major, x->minor, access);
	}
	return 0;
}

int cg_group_devices(const struct cg_group *g, const struct ct_resources *r, struct err *e)
{
	const struct cg_tree *t = cg_group_tree(g, "devices");
	int rc = 0;

	if (!t || !fd_valid(t->dir)) {
		t = cg_group_tree(g, "");
		return t && t->v2 && fd_valid(t->dir) ? program_v2(g, t, r, e) : 0;
	}
	/* Who gives no rules gets what every container may, and nothing else. */
	if (r->n_devices == 0)
		rc = write_v1(g, t, &nothing, e);
	for (size_t i = 0; rc == 0 && i < r->n_devices; i++)
		rc = write_v1(g, t, &r->devices[i], e);
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(always); i++)
		rc = write_v1(g, t, &always[i], e);
	return rc;
}
