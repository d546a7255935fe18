#include "spec/spec.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>

int spec_check(const struct cell_spec *s, uint64_t host_memory_bytes, struct err *e)
{
	if (!s->target && !s->rootfs) /* an image may say what it executes */
		return err_hint(e, err_set(e, ERR_SPEC, 0, "no TARGET given"), "fsbox run [options] handler.so");
	if (s->memory_bytes > host_memory_bytes)
		return err_set(e, ERR_SPEC, 0, "--mem: %llu MB is more than this host has (%llu MB)",
			       (unsigned long long)(s->memory_bytes >> 20),
			       (unsigned long long)(host_memory_bytes >> 20));
	if (s->no_limits && s->cgroup_parent)
		return err_set(e, ERR_SPEC, 0, "--no-limits and --cgroup-parent exclude each other");
	return 0;
}

/* The last part of a path, whatever slashes stand behind it; empty for one that ends with "." or "..". */
static const char *last_name(const char *path, size_t *ret_len)
{
	const char *end = path + strlen(path), *begin;

	while (end > path && end[-1] == '/')
		end--;
	for (begin = end; begin > path && begin[-1] != '/'; begin--)
		;
	*ret_len = (size_t)(end - begin);
	if (strspn(begin, ".") >= *ret_len)
		*ret_len = 0;
	return begin;
}

const char *spec_function_name(const struct cell_spec *s, char *buf)
{
	const char *base, *dot;
	size_t len;

	if (s->name)
		return s->name;
	base = last_name(s->target ? s->target : s->rootfs, &len);
	dot = memrchr(base, '.', len);
	if (dot && dot > base)
		len = (size_t)(dot - base);
	if (len > SPEC_MAX_NAME)
		len = SPEC_MAX_NAME;
	for (size_t i = 0; i < len; i++) {
		char c = base[i];
		bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';

		buf[i] = c;
		if (!ok)
			buf[i] = '-';
	}
	buf[len] = '\0';
	return len > 0 ? buf : "function";
}

static const char *machine_name(unsigned machine, char *buf, size_t size)
{
	static const struct {
		unsigned machine;
		const char *name;
	} names[] = {
		{EM_X86_64, "x86-64"}, {EM_AARCH64, "AArch64"}, {EM_386, "i386"},  {EM_ARM, "Arm"},
		{EM_RISCV, "RISC-V"},  {EM_PPC64, "PowerPC64"}, {EM_S390, "s390"},
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (names[i].machine == machine)
			return names[i].name;
	(void)snprintf(buf, size, "machine %u", machine);
	return buf;
}

#if defined(__x86_64__)
enum { OUR_MACHINE = EM_X86_64 };
#elif defined(__aarch64__)
enum { OUR_MACHINE = EM_AARCH64 };
#else
#error "fsbox knows x86-64 and AArch64"
#endif

int spec_check_elf(const char *file, const unsigned char *head, size_t len, struct err *e)
{
	static const char remedy[] = "build it with: cc -shared -fPIC -o handler.so handler.c";
	Elf64_Ehdr h;
	char buf[32], ours[32];
	int r;

	if (len == 0)
		return err_hint(e, err_set(e, ERR_SPEC, ENOEXEC, "'%s' is empty", file), "%s", remedy);
	if (len >= 2 && head[0] == '#' && head[1] == '!')
		return err_hint(e, err_set(e, ERR_SPEC, ENOEXEC, "'%s' is a script, not a shared object", file), "%s",
				remedy);
	if (len < SELFMAG || memcmp(head, ELFMAG, SELFMAG) != 0)
		return err_hint(e, err_set(e, ERR_SPEC, ENOEXEC, "'%s' is not an ELF shared object", file), "%s",
				remedy);
	if (len < sizeof h)
		return err_hint(e, err_set(e, ERR_SPEC, ENOEXEC, "'%s' is a truncated ELF file", file), "%s", remedy);
	memcpy(&h, head, sizeof h);
	if (h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_ident[EI_DATA] != ELFDATA2LSB || h.e_machine != OUR_MACHINE) {
		r = err_set(e, ERR_SPEC, ENOEXEC, "'%s' is built for %s, this host is %s", file,
			    h.e_ident[EI_DATA] == ELFDATA2LSB ? machine_name(h.e_machine, buf, sizeof buf)
							      : "a big-endian machine",
			    machine_name(OUR_MACHINE, ours, sizeof ours));
		return err_hint(e, r, "build it on or for this machine");
	}
	if (h.e_type != ET_DYN)
		return err_hint(e, err_set(e, ERR_SPEC, ENOEXEC, "'%s' is an ELF file but not a shared object", file),
				"%s", remedy);
	return 0;
}
