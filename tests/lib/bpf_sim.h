/* A filter's verdict without a kernel: the checks of seccomp(2) and a small machine for classic BPF. Scratch memory is left
 * out, because none of our filters uses it: a program that does is refused. */
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>

/* What the kernel's bpf_check_classic() and seccomp_check_filter() ask for. NULL when it is good, else the fault. */
const char *bpf_sim_check(const struct sock_filter *insns, size_t len);

/* Runs a program that bpf_sim_check() has passed. Returns the SECCOMP_RET_… value; *ret_steps (may be NULL) is how many
 * instructions it took. A program that would leave its bounds aborts the test. */
uint32_t bpf_sim_run(const struct sock_filter *insns, size_t len, const struct seccomp_data *data, unsigned *ret_steps);

/* "allow", "errno EPERM", "trap", "kill process", … in a static buffer. */
const char *bpf_sim_verdict(uint32_t verdict);
