/* CRIU's answers: any bytes are one of the four words, and texts that stand in messages are clean. */
#include "snapshot/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void must_be_clean(const char *text, size_t size)
{
	const size_t len = strnlen(text, size);

	must(len < size);
	for (size_t i = 0; i < len; i++)
		must((unsigned char)text[i] >= 0x20 && text[i] != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct snap_answer a;

	snap_worker_parse(data, size, &a);
	must(a.word == SNAP_WORD_NOTIFY || a.word == SNAP_WORD_RESTORED || a.word == SNAP_WORD_FAILED ||
	     a.word == SNAP_WORD_NONSENSE);
	must_be_clean(a.script, sizeof a.script);
	must_be_clean(a.text, sizeof a.text);
	return 0;
}
