#include "tests/lib/bpf_sim.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool known_alu(uint16_t code)
{
	switch (BPF_OP(code)) {
	case BPF_ADD:
	case BPF_SUB:
	case BPF_MUL:
	case BPF_DIV:
	case BPF_AND:
	case BPF_OR:
	case BPF_XOR:
	case BPF_LSH:
	case BPF_RSH:
		return true;
	case BPF_NEG:
		return BPF_SRC(code) == BPF_K;
	default:
		return false;
	}
}

static const char *check_alu(const struct sock_filter *i)
{
	if (!known_alu(i->code))
		return "unknown arithmetic";
	if (i->code == (BPF_ALU | BPF_DIV | BPF_K) && i->k == 0)
		return "division by zero";
	if ((i->code == (BPF_ALU | BPF_LSH | BPF_K) || i->code == (BPF_ALU | BPF_RSH | BPF_K)) && i->k >= 32)
		return "shift by 32 or more";
	return NULL;
}

static const char *check_jump(const struct sock_filter *i, size_t left)
{
	if (i->code == (BPF_JMP | BPF_JA))
		return i->k < left ? NULL : "jump out of the program";
	switch (i->code & ~(unsigned)BPF_X) {
	case BPF_JMP | BPF_JEQ:
	case BPF_JMP | BPF_JGE:
	case BPF_JMP | BPF_JGT:
	case BPF_JMP | BPF_JSET:
		return i->jt < left && i->jf < left ? NULL : "jump out of the program";
	default:
		return "unknown jump";
	}
}

/* @left: instructions behind this one. */
static const char *check_insn(const struct sock_filter *i, size_t left)
{
	switch (BPF_CLASS(i->code)) {
	case BPF_ALU:
		return check_alu(i);
	case BPF_JMP:
		return check_jump(i, left);
	default:
		break;
	}
	switch (i->code) {
	case BPF_LD | BPF_W | BPF_ABS:
		return i->k < sizeof(struct seccomp_data) && i->k % 4 == 0 ? NULL : "load outside seccomp_data";
	case BPF_LD | BPF_IMM:
	case BPF_LDX | BPF_IMM:
	case BPF_MISC | BPF_TAX:
	case BPF_MISC | BPF_TXA:
	case BPF_RET | BPF_K:
	case BPF_RET | BPF_A:
		return NULL;
	default:
		return "unknown instruction";
	}
}

const char *bpf_sim_check(const struct sock_filter *insns, size_t len)
{
	if (len == 0 || len > BPF_MAXINSNS)
		return "no instructions, or more than 4096";
	for (size_t i = 0; i < len; i++) {
		const char *fault = check_insn(&insns[i], len - 1 - i);

		if (fault)
			return fault;
	}
	return BPF_CLASS(insns[len - 1].code) == BPF_RET ? NULL : "the last instruction does not return";
}

struct machine {
	uint32_t a, x;
};

static void run_alu(struct machine *m, const struct sock_filter *i)
{
	uint32_t k = BPF_SRC(i->code) == BPF_X ? m->x : i->k;

	switch (BPF_OP(i->code)) {
	case BPF_ADD:
		m->a += k;
		return;
	case BPF_SUB:
		m->a -= k;
		return;
	case BPF_MUL:
		m->a *= k;
		return;
	case BPF_DIV:
		m->a = k ? m->a / k : 0; /* by X = 0 the kernel returns 0 from the program; nobody here divides by X */
		return;
	case BPF_AND:
		m->a &= k;
		return;
	case BPF_OR:
		m->a |= k;
		return;
	case BPF_XOR:
		m->a ^= k;
		return;
	case BPF_LSH:
		m->a <<= k & 31;
		return;
	case BPF_RSH:
		m->a >>= k & 31;
		return;
	case BPF_NEG:
		m->a = -m->a;
		return;
	default:
		abort(); /* bpf_sim_check() passed it */
	}
}

static size_t run_jump(const struct machine *m, const struct sock_filter *i)
{
	uint32_t k = BPF_SRC(i->code) == BPF_X ? m->x : i->k;

	switch (BPF_OP(i->code)) {
	case BPF_JA:
		return i->k;
	case BPF_JEQ:
		return m->a == k ? i->jt : i->jf;
	case BPF_JGE:
		return m->a >= k ? i->jt : i->jf;
	case BPF_JGT:
		return m->a > k ? i->jt : i->jf;
	case BPF_JSET:
		return m->a & k ? i->jt : i->jf;
	default:
		abort(); /* bpf_sim_check() passed it */
	}
}

static void run_load(struct machine *m, const struct sock_filter *i, const struct seccomp_data *data)
{
	switch (i->code) {
	case BPF_LD | BPF_W | BPF_ABS:
		memcpy(&m->a, (const char *)data + i->k, sizeof m->a);
		return;
	case BPF_LD | BPF_IMM:
		m->a = i->k;
		return;
	case BPF_LDX | BPF_IMM:
		m->x = i->k;
		return;
	case BPF_MISC | BPF_TAX:
		m->x = m->a;
		return;
	case BPF_MISC | BPF_TXA:
		m->a = m->x;
		return;
	default:
		abort(); /* bpf_sim_check() passed it */
	}
}

uint32_t bpf_sim_run(const struct sock_filter *insns, size_t len, const struct seccomp_data *data, unsigned *ret_steps)
{
	struct machine m = {0};
	unsigned steps = 0;

	for (size_t pc = 0; pc < len; pc++) {
		const struct sock_filter *i = &insns[pc];

		steps++;
		if (ret_steps)
			*ret_steps = steps;
		switch (BPF_CLASS(i->code)) {
		case BPF_RET:
			return i->code == (BPF_RET | BPF_A) ? m.a : i->k;
		case BPF_ALU:
			run_alu(&m, i);
			break;
		case BPF_JMP:
			pc += run_jump(&m, i);
			break;
		default:
			run_load(&m, i, data);
			break;
		}
	}
	abort(); /* ran off the end, which bpf_sim_check() excludes */
}

const char *bpf_sim_verdict(uint32_t verdict)
{
	static char text[64];
	uint32_t data = verdict & SECCOMP_RET_DATA;
	const char *name;

	switch (verdict & SECCOMP_RET_ACTION_FULL) {
	case SECCOMP_RET_ALLOW:
		return "allow";
	case SECCOMP_RET_TRAP:
		return "trap";
	case SECCOMP_RET_LOG:
		return "log";
	case SECCOMP_RET_KILL_THREAD:
		return "kill thread";
	case SECCOMP_RET_KILL_PROCESS:
		return "kill process";
	case SECCOMP_RET_ERRNO:
		name = strerrorname_np((int)data);
		if (name)
			(void)snprintf(text, sizeof text, "errno %s", name);
		else
			(void)snprintf(text, sizeof text, "errno %u", data);
		return text;
	default:
		return "unknown";
	}
}
