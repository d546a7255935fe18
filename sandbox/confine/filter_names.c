#include "confine/filter_names.h"

#include "base/mem.h"

#include <linux/audit.h>
#include <seccomp.h>
#include <stdio.h>

static const struct filter_arch archs[] = {
	{.name = "x86_64", .audit = AUDIT_ARCH_X86_64, .token = SCMP_ARCH_X86_64, .other_abi = 0x40000000},
	{.name = "aarch64", .audit = AUDIT_ARCH_AARCH64, .token = SCMP_ARCH_AARCH64},
	/* What the two can run beside their own. */
	{.name = "x86", .audit = AUDIT_ARCH_I386, .token = SCMP_ARCH_X86},
	{.name = "x32", .audit = AUDIT_ARCH_X86_64, .token = SCMP_ARCH_X32},
	{.name = "arm", .audit = AUDIT_ARCH_ARM, .token = SCMP_ARCH_ARM},
};

/* Calls that are younger than libseccomp 2.5.4. Since number 424 a call has one number on all architectures. */
static const struct {
	const char *name;
	int nr;
} newer[] = {
	{"cachestat", 451},         {"fchmodat2", 452},         {"map_shadow_stack", 453}, {"futex_wake", 454},
	{"futex_wait", 455},        {"futex_requeue", 456},     {"statmount", 457},        {"listmount", 458},
	{"lsm_get_self_attr", 459}, {"lsm_set_self_attr", 460}, {"lsm_list_modules", 461}, {"mseal", 462},
	{"setxattrat", 463},        {"getxattrat", 464},        {"listxattrat", 465},      {"removexattrat", 466},
	{"open_tree_attr", 467},    {"file_getattr", 468},      {"file_setattr", 469},
};

const struct filter_arch *filter_arch_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(archs); i++)
		if (strcmp(archs[i].name, name) == 0)
			return &archs[i];
	return NULL;
}

const struct filter_arch *filter_arch_native(void)
{
#if defined(__x86_64__) && !defined(__ILP32__)
	return &archs[0];
#elif defined(__aarch64__)
	return &archs[1];
#else
#error "fsbox knows x86-64 and aarch64"
#endif
}

int filter_call_number(const struct filter_arch *arch, const char *name)
{
	int nr = seccomp_syscall_resolve_name_arch(arch->token, name);

	if (nr >= 0)
		return nr;
	for (size_t i = 0; i < ARRAY_LEN(newer); i++)
		if (strcmp(newer[i].name, name) == 0)
			return newer[i].nr;
	return nr == __NR_SCMP_ERROR ? CALL_NOWHERE : CALL_ELSEWHERE;
}

bool filter_call_name(const struct filter_arch *arch, int nr, char buf[static CALL_NAME_ROOM])
{
	/* libseccomp gives names to its own negative numbers too. */
	AUTO_FREE char *name = nr >= 0 ? seccomp_syscall_resolve_num_arch(arch->token, nr) : NULL;
	const char *found = name;

	for (size_t i = 0; !found && i < ARRAY_LEN(newer); i++)
		if (newer[i].nr == nr)
			found = newer[i].name;
	if (!found)
		return false;
	(void)snprintf(buf, CALL_NAME_ROOM, "%s", found);
	return true;
}
