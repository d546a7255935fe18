/* The head of TARGET: what is not a shared object for this machine is refused by what it is. Input: up to 64 bytes of a
 * file, and what lies behind them, which must not matter. */
#include "spec/spec.h"

#include <elf.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const size_t len = size < 64 ? size : 64;
	unsigned char *exact = malloc(len ? len : 1);
	struct err e = {0};
	Elf64_Ehdr h;

	must(exact != NULL);
	if (len)
		memcpy(exact, data, len);

	int r = spec_check_elf("f.so", exact, len, &e);
	must(r == 0 || r < 0);
	if (r == 0) {
		must(len >= sizeof h && e.kind == ERR_NONE);
		memcpy(&h, exact, sizeof h);
		must(memcmp(h.e_ident, ELFMAG, SELFMAG) == 0 && h.e_ident[EI_CLASS] == ELFCLASS64 &&
		     h.e_ident[EI_DATA] == ELFDATA2LSB && h.e_type == ET_DYN);
	} else {
		must(e.kind == ERR_SPEC && strstr(e.msg, "'f.so'") && e.hint[0]);
	}
	free(exact);
	return 0;
}
