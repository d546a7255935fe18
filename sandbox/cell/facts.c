/* What this process may do on this host, and where it keeps its state. */
#include "cell/internal.h"

#include "base/fd.h"
#include "base/str.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* Outside ids when /etc/subuid has no line for "fsbox": above what systemd-nspawn takes (0x80000 … 0x6fffffff), below
 * the ids that are special in many tools (0x7fffffff and up). */
enum { DEFAULT_FIRST = 0x70000000, DEFAULT_RANGES = 2048 };

/* Copied into the skeleton: when one of them changes, so does the skeleton's name. */
static const char *const stamped[] = {
	"/etc/ld.so.cache",
	"/etc/ssl/openssl.cnf",
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/resolv.conf",
};

static bool has_caps(void)
{
	const uint32_t want = 1U << CAP_SYS_ADMIN | 1U << CAP_SETUID | 1U << CAP_SETGID | 1U << CAP_CHOWN;
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	return syscall(SYS_capget, &head, data) == 0 && (data[0].effective & want) == want;
}

/* Is [first, first + count) mapped in our own user namespace? (uid_map: "inside outside count" lines.) */
static bool map_covers(const char *file, uint64_t first, uint64_t count)
{
	char text[4096], *line = text;

	if (fd_read_file_at(AT_FDCWD, file, text, sizeof text) < 0)
		return false;
	for (char *next; line && *line; line = next) {
		unsigned long long inside, outside, n;

		next = strchr(line, '\n');
		next = next ? next + 1 : NULL;
		if (sscanf(line, "%llu %llu %llu", &inside, &outside, &n) == 3 && first >= inside &&
		    first + count <= inside + n)
			return true;
	}
	return false;
}

struct subid {
	const char *file;
	uint64_t first, count; /* of "fsbox"; count 0: no line */
};

/* One "name:first:count" line of subuid(5). False when it is none. */
static bool subid_line(char *line, char **ret_name, uint64_t *ret_first, uint64_t *ret_count)
{
	char *a = strchr(line, ':'), *b = a ? strchr(a + 1, ':') : NULL;

	if (!b)
		return false;
	*a = *b = '\0';
	*ret_name = line;
	return parse_u64(a + 1, 0, UINT32_MAX, ret_first) && parse_u64(b + 1, 1, UINT32_MAX, ret_count);
}

/* Two passes over the file: find our own line, then see that nobody else's range overlaps what will be used. */
static int subid_check(const char *file, uint64_t *first, uint64_t *count, bool find, struct err *e)
{
	AUTO_FD int fd = open(file, O_RDONLY | O_CLOEXEC);
	AUTO_FREE char *text = NULL;
	size_t len;

	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(e, errno, "opening '%s'", file);

	int r = fd_read_all(fd, 1 << 20, &text, &len);
	if (r < 0)
		return err_sys(e, r, "reading '%s'", file);
	for (char *line = text, *next; line && *line; line = next) {
		char *name;
		uint64_t f, n;

		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		if (!subid_line(line, &name, &f, &n))
			continue;
		bool ours = strcmp(name, "fsbox") == 0;
		if (find && ours) {
			*first = f;
			*count = n;
		} else if (!find && !ours && f < *first + *count && *first < f + n) {
			r = err_set(e, ERR_SPEC, 0,
				    "%s gives ids %llu to %llu to '%s', and cells would use some of them", file,
				    (unsigned long long)f, (unsigned long long)(f + n - 1), name);
			return err_hint(e, r,
					"reserve a free span for cells with a line 'fsbox:FIRST:COUNT' in "
					"/etc/subuid and /etc/subgid");
		}
	}
	return 0;
}

static int find_ranges(struct cell_host *h, struct err *e)
{
	uint64_t first = DEFAULT_FIRST, count = (uint64_t)DEFAULT_RANGES * CELL_ID_RANGE;
	int r = subid_check("/etc/subuid", &first, &count, true, e);

	if (r == 0)
		r = subid_check("/etc/subuid", &first, &count, false, e);
	if (r == 0)
		r = subid_check("/etc/subgid", &first, &count, false, e);
	if (r < 0)
		return r;
	if (count < CELL_ID_RANGE)
		return err_set(e, ERR_SPEC, 0, "/etc/subuid gives 'fsbox' %llu ids; one cell needs %d",
			       (unsigned long long)count, CELL_ID_RANGE);
	h->range_first = (uint32_t)first;
	h->n_ranges = (uint32_t)(count / CELL_ID_RANGE);
	if (h->n_ranges > CELL_MAX_SLOTS)
		h->n_ranges = CELL_MAX_SLOTS;
	h->facts.privileged = has_caps() && map_covers("/proc/self/uid_map", first, count) &&
			      map_covers("/proc/self/gid_map", first, count);
	if (!h->facts.privileged)
		h->n_ranges = CELL_MAX_SLOTS; /* only slots of the table: every cell maps the one id we have */
	return 0;
}

/* Ours, a directory, and nobody else may enter: or an attacker could prepare the root of our cells, or hold locks in it. */
static int check_state_dir(const char *path, struct err *e)
{
	struct stat st;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_sys(e, errno, "making the state directory '%s'", path);
	if (lstat(path, &st) < 0)
		return err_sys(e, errno, "looking at the state directory '%s'", path);
	if (S_ISDIR(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 022) && (st.st_mode & 055) &&
	    chmod(path, 0700) == 0) /* made by an older fsbox, or by hand */
		return 0;
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077)) {
		int r = err_set(e, ERR_DENIED, EACCES, "the state directory '%s' is not a directory of this user alone",
				path);

		return err_hint(e, r, "remove it, or set XDG_RUNTIME_DIR to a directory of your own");
	}
	return 0;
}

/* Root's state stands one directory deeper than /run/fsbox: there is the daemon's socket, too, for those who may use it. */
#define ROOT_DIR "/run/fsbox"
static int open_to_all(const char *path, struct err *e)
{
	struct stat st;

	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return err_sys(e, errno, "making '%s'", path);
	if (lstat(path, &st) < 0)
		return err_sys(e, errno, "looking at '%s'", path);
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022))
		return err_set(e, ERR_DENIED, EACCES, "'%s' is not a directory that root alone can write", path);
	/* A narrow umask when it was made, or an older fsbox. */
	if ((st.st_mode & 0755) != 0755 && chmod(path, 0755) < 0)
		return err_sys(e, errno, "opening '%s' to all", path);
	return 0;
}

/* Our uid as the outermost namespace that we can see numbers it: in a user namespace of their own two users may both be
 * uid 0, and must not share a directory in /tmp. */
static uid_t outside_uid(void)
{
	char text[4096];
	unsigned inside, outside, n;
	const uid_t euid = geteuid();

	if (fd_read_file_at(AT_FDCWD, "/proc/self/uid_map", text, sizeof text) > 0 &&
	    sscanf(text, "%u %u %u", &inside, &outside, &n) == 3 && euid >= inside && euid - inside < n)
		return outside + (euid - inside);
	return euid;
}

static int find_state_dir(struct cell_host *h, struct err *e)
{
	const char *runtime = secure_getenv("XDG_RUNTIME_DIR");
	struct err first = {0};

	if (geteuid() == 0) {
		(void)snprintf(h->state_dir, sizeof h->state_dir, "%s/private", ROOT_DIR);
		int r = open_to_all(ROOT_DIR, &first);

		if (r == 0)
			r = check_state_dir(h->state_dir, &first);
		if (r == 0)
			return 0;
		if (h->facts.privileged)
			return err_adopt(e, &first);
	}
	if (runtime && runtime[0] == '/' && strlen(runtime) < sizeof h->state_dir - 8)
		(void)snprintf(h->state_dir, sizeof h->state_dir, "%s/fsbox", runtime);
	else
		(void)snprintf(h->state_dir, sizeof h->state_dir, "/tmp/fsbox-%u", outside_uid());
	return check_state_dir(h->state_dir, e);
}

/* On a merged-/usr host these are links; elsewhere directories that have to be bound. */
static void find_userland(struct cell_host *h)
{
	static const char *const names[] = {"bin", "sbin", "lib", "lib32", "lib64", "libx32"};
	struct host_facts *f = &h->facts;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char path[16], *link = h->links[f->n_userland];
		struct stat st;

		(void)snprintf(path, sizeof path, "/%s", names[i]);

		ssize_t n = readlink(path, link, sizeof h->links[0] - 1);
		if (n > 0) {
			link[n] = '\0';
			f->userland[f->n_userland].link = link;
		} else if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
			f->userland[f->n_userland].link = NULL;
		} else {
			continue;
		}
		f->userland[f->n_userland++].name = names[i];
	}
}

static uint64_t stamp_files(void)
{
	uint64_t h = UINT64_C(14695981039346656037);

	for (size_t i = 0; i < ARRAY_LEN(stamped); i++) {
		struct stat st = {0};

		if (stat(stamped[i], &st) < 0)
			continue;
		const uint64_t parts[] = {(uint64_t)st.st_ino, (uint64_t)st.st_size, (uint64_t)st.st_mtim.tv_sec,
					  (uint64_t)st.st_mtim.tv_nsec};
		for (size_t k = 0; k < ARRAY_LEN(parts); k++)
			h = (h ^ parts[k]) * UINT64_C(1099511628211);
	}
	return h;
}

static int sweep_record(const struct slot_record *rec, void *arg, struct err *e)
{
	struct cell_host *h = arg;
	int r = rec->cgroup_parent[0] ? cg_sweep(&h->cg, rec->cgroup_parent, rec->cgroup_name, e) : 0;

	if (r == 0 && rec->quota_path[0])
		r = root_quota_sweep(rec->quota_path, e);
	if (r == 0 && str_starts(rec->cgroup_name, "cell-"))
		root_skeleton_sweep(h->state_dir, rec->cgroup_name + strlen("cell-"));
	return r;
}

/* Behind whatever remedy there is: the way that is always open. */
static int offer_no_limits(int r, struct err *e)
{
	size_t n = strlen(e->hint);

	(void)snprintf(e->hint + n, sizeof e->hint - n, "%srun without limits: --no-limits", n > 0 ? "; or " : "");
	return r;
}

int cell_host_open(const struct cell_spec *spec, const char *runtime_dir, struct cell_host *h, struct err *e)
{
	struct err swept = {0};
	int r;

	*h = (struct cell_host){.self = FD_NONE, .slots = FD_NONE, .target_fd = FD_NONE, .limits = !spec->no_limits};
	h->facts.euid = geteuid();
	h->facts.egid = getegid();
	h->facts.code = (struct spec_code){
		.runtime = SPEC_RUNTIME_NATIVE}; /* unless the face has found out otherwise */
	(void)snprintf(h->runtime_dir, sizeof h->runtime_dir, "%s", runtime_dir);
	r = cg_host_probe(&h->cg, e);
	if (r == 0)
		r = find_ranges(h, e);
	if (r == 0)
		r = find_state_dir(h, e);
	if (r < 0)
		return r;
	r = slots_open(h->state_dir, e);
	if (r < 0)
		return r;
	h->slots = r;
	h->self = sys_pidfd_open(getpid());
	if (h->self < 0) {
		r = err_sys(e, h->self, "opening a pidfd of our own");
		fd_closep(&h->slots);
		return r;
	}
	h->born = mmap(NULL, (size_t)2 * CELL_MAX_SLOTS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (h->born == MAP_FAILED) {
		r = err_sys(e, errno, "making a page that children share");
		h->born = NULL;
		fd_closep(&h->self);
		fd_closep(&h->slots);
		return r;
	}
	h->held = h->born + CELL_MAX_SLOTS;
	/* What cannot be removed now stays in the table and is tried again by the next start; it must not stop this one. */
	(void)!slots_sweep(h->slots, sweep_record, h, &swept);
	if (h->limits) {
		r = cg_parent_find(&h->cg, spec->cgroup_parent, &h->cg_parent, e);
		if (r < 0) {
			cell_host_close(h);
			return offer_no_limits(r, e);
		}
	}
	find_userland(h);
	h->facts.files_stamp = stamp_files();
	if (h->facts.privileged && root_dev_dir(h->state_dir) == 0) {
		(void)snprintf(h->dev_dir, sizeof h->dev_dir, "%s/dev", h->state_dir);
		h->facts.dev_dir = h->dev_dir;
	}
	h->facts.state_dir = h->state_dir;
	h->facts.runtime_dir = h->runtime_dir;
	return 0;
}

int cell_host_sweep(struct cell_host *h, struct err *e)
{
	/* By a description of its own: with ours every lock that we hold looks free. */
	AUTO_FD int slots = slots_open(h->state_dir, e);

	return slots < 0 ? slots : slots_sweep(slots, sweep_record, h, e);
}

void cell_host_view(const struct cell_host *h, struct cell_host *ret)
{
	*ret = *h; /* what facts point at stays in @h */
	ret->target_fd = FD_NONE;
	ret->target_path = NULL;
	ret->kdat = ret->dump_kdat = (struct buf){0};
}

void cell_host_close(struct cell_host *h)
{
	if (h->limits)
		cg_parent_leave(&h->cg, &h->cg_parent);
	fd_closep(&h->slots);
	fd_closep(&h->self);
	if (h->born)
		(void)munmap(h->born, (size_t)2 * CELL_MAX_SLOTS);
	h->born = h->held = NULL;
	buf_done(&h->kdat);
	buf_done(&h->dump_kdat);
}
