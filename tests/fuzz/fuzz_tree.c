/* The archive of /tmp. Input: the bytes of one; a first byte that is odd puts the magic word before them.
 *
 * Properties: beside the directory nothing appears, disappears or changes; the answer is success or an error; what could
 * be unpacked can be packed, and that unpacked once more. */
#include "snapshot/snapshot.h"
#include "snapshot/tree.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/removal.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_BYTES = 8192 };

static int base = FD_NONE;
static char base_path[64];
static struct stat canary;

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void remove_base(void)
{
	(void)unlinkat(base, "canary", 0);
	(void)rmdir(base_path);
}

static void make_base(void)
{
	AUTO_FD int fd = FD_NONE;

	(void)snprintf(base_path, sizeof base_path, "/tmp/fsbox-fuzz-tree.XXXXXX");
	must(mkdtemp(base_path) != NULL);
	base = open(base_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = openat(base, "canary", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	must(fd >= 0 && fd_write_all(fd, "sings", 5) == 0 && fstat(fd, &canary) == 0);
	(void)atexit(remove_base);
}

/* base/ has the canary, as it was, and "tree". */
static void check_base(void)
{
	AUTO_FD int fd = openat(base, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fdopendir(fd);
	const struct dirent *ent;
	struct stat st;
	unsigned n = 0;

	(void)take_fd(&fd);
	must(d != NULL);
	while ((ent = readdir(d)))
		n++;
	(void)closedir(d);
	must(n == 4 && fstatat(base, "canary", &st, AT_SYMLINK_NOFOLLOW) == 0);
	must(st.st_ino == canary.st_ino && st.st_mode == canary.st_mode && st.st_nlink == 1 && st.st_size == 5);
	must(st.st_mtim.tv_nsec == canary.st_mtim.tv_nsec && st.st_ctim.tv_nsec == canary.st_ctim.tv_nsec);
}

/* Unpacks @archive into a fresh "tree" and leaves it there, open. */
static int unpack(int archive, int *ret_tree)
{
	must(mkdirat(base, "tree", 0700) == 0);
	*ret_tree = openat(base, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(*ret_tree >= 0 && lseek(archive, 0, SEEK_SET) == 0);

	int r = snap_tree_unpack(archive, *ret_tree);
	check_base();
	return r;
}

static void remove_tree(int *tree)
{
	(void)fchmod(*tree, 0700);
	fd_closep(tree);
	must(tree_remove(base, "tree") == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FD int in = memfd_create("in", MFD_CLOEXEC);
	AUTO_FD int out = memfd_create("out", MFD_CLOEXEC);
	struct err e = {0};
	uint64_t n, m;
	int tree, r;

	if (size == 0 || size > MAX_BYTES)
		return 0;
	if (!fd_valid(base))
		make_base();
	must(in >= 0 && out >= 0);
	if (data[0] & 1)
		must(fd_write_all(in, TREE_MAGIC, strlen(TREE_MAGIC)) == 0);
	must(fd_write_all(in, data + 1, size - 1) == 0);
	r = unpack(in, &tree);
	must(r == 0 || (r < 0 && r > -4096));
	if (r == 0) {
		must(snap_tree_pack(tree, out, 0, &n, &e) == 0);
		remove_tree(&tree);
		must(unpack(out, &tree) == 0);
		must(ftruncate(in, 0) == 0 && lseek(in, 0, SEEK_SET) == 0);
		must(snap_tree_pack(tree, in, 0, &m, &e) == 0 && n == m);
	}
	remove_tree(&tree);
	return 0;
}
