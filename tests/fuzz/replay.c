/* Runs a fuzz target over files instead of invented input: tests/fuzz/corpus/NAME/ for a program fuzz_NAME, or the files
 * given. The empty input and every prefix of a short file are run as well, each from a block of exactly its size, so that
 * AddressSanitizer sees a read beyond the end. Speaks TAP: one test for each file. */
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

enum { PREFIX_MAX = 512 };

static void run_bytes(const uint8_t *data, size_t size)
{
	uint8_t *exact = malloc(size ? size : 1);

	if (!exact)
		abort();
	if (size)
		memcpy(exact, data, size);
	(void)LLVMFuzzerTestOneInput(exact, size);
	free(exact);
}

static bool run_file(const char *path)
{
	struct stat st;
	FILE *f = fopen(path, "re");
	uint8_t *data = NULL;
	size_t got = 0;
	bool ok = f && fstat(fileno(f), &st) == 0 && (data = malloc((size_t)st.st_size + 1));

	if (ok) {
		got = fread(data, 1, (size_t)st.st_size, f);
		ok = got == (size_t)st.st_size;
	}
	if (ok) {
		for (size_t n = 0; n < got && got <= PREFIX_MAX; n++)
			run_bytes(data, n);
		run_bytes(data, got);
	} else {
		printf("# %s: %s\n", path, strerror(errno));
	}
	free(data);
	if (f)
		(void)fclose(f);
	return ok;
}

static int visible(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

static int replay(const char *dir, int n_names, char **names)
{
	int failed = 0;

	printf("1..%d\n", n_names + 1);
	printf("# begin 1 empty_input\n");
	run_bytes(NULL, 0);
	printf("ok 1 - empty_input\n");
	for (int i = 0; i < n_names; i++) {
		char path[4096];

		(void)snprintf(path, sizeof path, "%s%s%s", dir, *dir ? "/" : "", names[i]);
		printf("# begin %d %s\n", i + 2, names[i]);
		bool ok = run_file(path);
		printf("%s %d - %s\n", ok ? "ok" : "not ok", i + 2, names[i]);
		failed += !ok;
	}
	return failed ? 1 : 0;
}

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/');
	char dir[1024];
	struct dirent **found = NULL;

	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	if (LLVMFuzzerInitialize)
		(void)LLVMFuzzerInitialize(&argc, &argv);
	if (argc > 1)
		return replay("", argc - 1, argv + 1);

	name = name ? name + 1 : argv[0];
	(void)snprintf(dir, sizeof dir, "tests/fuzz/corpus/%s", strncmp(name, "fuzz_", 5) == 0 ? name + 5 : name);
	int n = scandir(dir, &found, visible, alphasort);
	char **names = calloc((size_t)(n > 0 ? n : 1), sizeof *names);
	if (!names)
		abort();
	for (int i = 0; i < n; i++)
		names[i] = found[i]->d_name;
	int status = replay(dir, n > 0 ? n : 0, names);
	for (int i = 0; i < n; i++)
		free(found[i]);
	free(found);
	free(names);
	return status;
}
