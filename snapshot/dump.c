/* A dump: CRIU is executed on the host, in the cell's network, UTS and IPC namespace so that these are not put into the
 * image, and as the user who owns the cell's user namespace: only he may read its processes' resource limits without
 * CAP_SYS_RESOURCE (prlimit(2)), and he keeps our capabilities. What of the other namespaces it writes is taken out of the
 * images afterwards (image.c). */
#include "snapshot/internal.h"

#include "sys/sys.h"

#include <dirent.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#include <linux/capability.h>
#include <linux/securebits.h>

enum {
	DUMP_WAIT_MS = 120000, /* a dump writes some GiB a second; Lambda gives init and dump 130 s */
	MAX_MOUNTS = 128,
	MAX_ARGS = 32 + 2 * MAX_MOUNTS,
	LOG_MAX = 1 << 20,
	FULL_BLOCKS = 16,    /* so few are left on a file system that is full */
	TABLE_MAX = 1 << 20, /* of /proc/PID/mountinfo and maps: a cell has some fifteen mounts */
	MAPS_MAX = 16 << 20,
	KDAT_FD = 100,
	KDAT_MAX = 4096,
};
#define KDAT "criu.kdat"

/* ---- what is known before ---- */

static int read_table(const char *name, size_t max, char **ret, struct err *e)
{
	AUTO_FD int fd = open(name, O_RDONLY | O_CLOEXEC);
	size_t len;
	int r;

	if (fd < 0)
		return err_sys(e, errno, "opening %s", name);
	r = fd_read_all(fd, max, ret, &len);
	return r < 0 ? err_sys(e, r, "reading %s", name) : 0;
}

static int note_pipes(const struct snap_victim *v, struct snap_manifest *m, struct err *e)
{
	for (int i = 0; i < SNAP_MAX_PIPES; i++) {
		char link[48];
		ssize_t n;

		(void)snprintf(link, sizeof link, "/proc/%d/fd/%d", v->pid, i + 1);
		n = readlink(link, m->pipes[i], sizeof m->pipes[i] - 1);
		if (n < 0)
			return err_sys(e, errno, "reading what descriptor %d is", i + 1);
		m->pipes[i][n] = '\0';
		if (!str_starts(m->pipes[i], "pipe:["))
			return err_hint(e,
					err_set(e, ERR_UNSUPPORTED, 0, "descriptor %d is '%s', and no pipe any more",
						i + 1, m->pipes[i]),
					"leave descriptors 1 to 4 as they are until the snapshot is made");
	}
	return 0;
}

/* The process and its descendants. A zombie's list is empty. */
static int each_task(pid_t pid, int (*fn)(pid_t pid, void *arg, struct err *e), void *arg, unsigned depth,
		     struct err *e)
{
	AUTO_FREE char *list = NULL;
	char name[64], *save = NULL;
	int r = fn(pid, arg, e);

	if (r < 0 || depth == 64)
		return r;
	(void)snprintf(name, sizeof name, "/proc/%d/task/%d/children", pid, pid);
	r = read_table(name, TABLE_MAX, &list, e);
	for (char *word = r < 0 ? NULL : strtok_r(list, " \n", &save); word; word = strtok_r(NULL, " \n", &save)) {
		uint64_t child;

		if (!parse_u64(word, 1, INT32_MAX, &child))
			return err_set(e, ERR_SYSTEM, 0, "%s holds '%s'", name, word);
		r = each_task((pid_t)child, fn, arg, depth + 1, e);
		if (r < 0)
			return r;
	}
	return r;
}

struct libraries {
	struct snap_manifest *m;
	size_t cap;
};

static bool is_known(const struct snap_manifest *m, const char *path)
{
	for (size_t i = 0; i < m->n_deps; i++)
		if (strcmp(m->deps[i].name, path) == 0)
			return true;
	return false;
}

static int add_library(struct libraries *l, const char *path, struct err *e)
{
	struct snap_manifest *m = l->m;

	if (is_known(m, path))
		return 0;
	if (m->n_deps == SNAP_MAX_FILES)
		return err_set(e, ERR_LIMIT, E2BIG, "more than %d libraries are mapped", SNAP_MAX_FILES);
	if (m->n_deps == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 16;
		struct snap_file *grown = arena_alloc(&m->arena, cap * sizeof *grown);

		if (!grown)
			return err_oom(e);
		if (m->n_deps > 0)
			memcpy(grown, m->deps, m->n_deps * sizeof *grown);
		m->deps = grown;
		l->cap = cap;
	}
	m->deps[m->n_deps].name = arena_strdup(&m->arena, path);
	return m->deps[m->n_deps].name ? (m->n_deps++, 0) : err_oom(e);
}

/* What lies in the host's userland; the code, layers and runtime are parts of the key, and a root of its own is, too. */
static bool is_of_host(const char *path)
{
	static const char *const places[] = {"/usr/", "/lib/", "/lib64/", "/lib32/", "/libx32/", "/bin/", "/sbin/"};

	for (size_t i = 0; i < ARRAY_LEN(places); i++)
		if (str_starts(path, places[i]))
			return true;
	return false;
}

/* The sixth field of a line of /proc/PID/maps, when it is a file's name: "[heap]" and "[anon:…]" are none. */
static char *name_of(char *line)
{
	char *at = line;

	for (int field = 0; field < 5; field++) {
		at += strcspn(at, " ");
		at += strspn(at, " ");
	}
	return *at == '/' ? at : NULL;
}

static int note_libraries(pid_t pid, void *arg, struct err *e)
{
	AUTO_FREE char *maps = NULL;
	char name[32], *save = NULL;
	int r;

	(void)snprintf(name, sizeof name, "/proc/%d/maps", pid);
	r = read_table(name, MAPS_MAX, &maps, e);
	for (char *line = r < 0 ? NULL : strtok_r(maps, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *path = name_of(line);

		if (!path || !is_of_host(path) || strstr(path, " (deleted)"))
			continue;
		r = add_library(arg, path, e);
		if (r < 0)
			return r;
	}
	return r;
}

/* ---- the command ---- */

struct command {
	struct arena arena;
	const char *argv[MAX_ARGS];
	size_t n;
	const char *envp[5];
	int kdat_dir; /* a tmpfs: CRIU keeps what it knows of the kernel nowhere else */
};

static void command_done(struct command *c)
{
	fd_closep(&c->kdat_dir);
	arena_done(&c->arena);
}

static void add(struct command *c, const char *arg)
{
	if (c->n + 1 < MAX_ARGS)
		c->argv[c->n++] = arg;
}

static void add_external(struct command *c, const char *text)
{
	add(c, "--external");
	add(c, text);
}

/* /proc/PID/mountinfo has blanks and backslashes in octal (proc(5)); the names of our mounts have none, but the file that
 * holds the code may. */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++)
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' &&
		    s[3] <= '7') {
			*to++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 3;
		} else {
			*to++ = *s;
		}
	*to = '\0';
}

/* Every mount of the cell but the root and /proc is external: none of them will be in the image. */
static int add_mounts(struct command *c, pid_t pid, struct err *e)
{
	AUTO_FREE char *table = NULL;
	char name[40], *save = NULL;
	size_t n = 0;
	int r;

	(void)snprintf(name, sizeof name, "/proc/%d/mountinfo", pid);
	r = read_table(name, TABLE_MAX, &table, e);
	for (char *line = r < 0 ? NULL : strtok_r(table, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *point = line, *end;

		for (int i = 0; i < 4 && point; i++) { /* the fifth field */
			point = strchr(point, ' ');
			point = point ? point + 1 : NULL;
		}
		end = point ? strchr(point, ' ') : NULL;
		if (!end)
			return err_set(e, ERR_SYSTEM, 0, "%s is not as proc(5) says", name);
		*end = '\0';
		unescape(point);
		if (strcmp(point, "/") == 0 || strcmp(point, "/proc") == 0)
			continue;
		if (n++ == MAX_MOUNTS)
			return err_set(e, ERR_LIMIT, E2BIG, "the cell has more than %d mounts", MAX_MOUNTS);
		add_external(c, arena_printf(&c->arena, "mnt[%s]:m%zu", point, n));
	}
	return r;
}

static int make_command(const struct snap_engine *en, const struct snap_victim *v, const struct snap_draft *d,
			struct command *c, char *paths, size_t paths_size, struct err *e)
{
	const char *loader[ENGINE_WORDS];
	char ns[32];
	struct stat st;
	int r;

	engine_argv(en, paths, paths_size, loader);
	for (size_t i = 0; i < ARRAY_LEN(loader); i++)
		add(c, loader[i]);
	add(c, "--no-default-config");
	add(c, "dump");
	add(c, "--tree");
	add(c, arena_printf(&c->arena, "%d", v->pid));
	add(c, "--images-dir");
	add(c, d->images_path);
	add(c, "--log-file");
	add(c, "dump.log");
	add(c, "-v1");
	add(c, "--unprivileged"); /* it is not uid 0 */
	add(c, "--manage-cgroups=ignore");
	add(c, "--network-lock");
	add(c, "skip");
	add(c, "--tcp-established"); /* with both ends in the image: the look has seen to that */
	add(c, "--freeze-cgroup");   /* nothing in the cell runs from before the look until CRIU holds every task */
	add(c, v->group);
	add(c, "--ghost-limit");
	add(c, "1G"); /* deleted files that are still open: bounded by the size of /tmp */
	(void)snprintf(ns, sizeof ns, "/proc/%d/ns/pid", v->init_pid);
	if (stat(ns, &st) < 0)
		return err_sys(e, errno, "looking at %s", ns);
	add_external(c, arena_printf(&c->arena, "pid[%llu]:cell", (unsigned long long)st.st_ino));
	r = add_mounts(c, v->pid, e);
	c->argv[c->n] = NULL;
	c->envp[0] = "HOME=/nonexistent";
	c->envp[1] = arena_printf(&c->arena, "CRIU_LIBS_DIR=%s/plugins", en->dir);
	c->envp[2] = arena_printf(&c->arena, "XDG_RUNTIME_DIR=/proc/self/fd/%d", KDAT_FD);
	c->envp[3] = arena_printf(&c->arena, "PATH=%s/plugins", en->dir); /* empty: it has nothing to execute */
	c->envp[4] = NULL;
	for (size_t i = 0; r == 0 && i < c->n; i++)
		if (!c->argv[i])
			r = err_oom(e);
	return r == 0 && (!c->envp[1] || !c->envp[2] || !c->envp[3]) ? err_oom(e) : r;
}

int kdat_dir_open(const struct buf *kdat, struct err *e)
{
	AUTO_FD int fs = sys_fsopen("tmpfs"), file = FD_NONE, dir = FD_NONE;
	int r = fs < 0 ? fs : sys_fsconfig_string(fs, "size", "64k");

	if (r == 0)
		r = sys_fsconfig_create(fs);
	if (r == 0)
		r = dir = sys_fsmount(fs, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (r >= 0 && kdat->len > 0) {
		file = openat(dir, KDAT, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		r = file < 0 ? -errno : fd_write_all(file, kdat->data, kdat->len);
	}
	return r < 0 ? err_sys(e, r, "making a tmpfs for CRIU") : take_fd(&dir);
}

static int make_kdat_dir(struct command *c, const struct buf *kdat, struct err *e)
{
	c->kdat_dir = kdat_dir_open(kdat, e);
	return c->kdat_dir < 0 ? c->kdat_dir : 0;
}

/* Failing costs time only. */
static void take_kdat(const struct command *c, struct buf *kdat)
{
	AUTO_FD int file = FD_NONE;
	AUTO_FREE char *data = NULL;
	size_t len;

	if (kdat->len > 0)
		return;
	file = openat(c->kdat_dir, KDAT, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd_valid(file) && fd_read_all(file, KDAT_MAX, &data, &len) == 0)
		buf_add(kdat, data, len);
}

/* ---- running it ---- */

static int enter(pid_t pid, const char *ns, int type)
{
	char path[40];
	AUTO_FD int fd = FD_NONE;

	(void)snprintf(path, sizeof path, "/proc/%d/ns/%s", pid, ns);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 || setns(fd, type) < 0 ? -errno : 0;
}

/* CRIU's look at the kernel connects to itself, and does not start where it cannot. With --net none lo is down; the cell
 * does not outlive the dump. */
static int raise_loopback(void)
{
	AUTO_FD int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq lo = {.ifr_name = "lo"};

	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &lo) < 0)
		return -errno;
	lo.ifr_flags |= IFF_UP;
	return ioctl(fd, SIOCSIFFLAGS, &lo) < 0 ? -errno : 0;
}

/* What a dump needs: to stop and read the processes, and their filter; to read what is in /proc of another user; to write
 * the group's freezer; to end the dumped ones; to enter namespaces, and be somebody there. */
static const unsigned wanted_caps[] = {CAP_SYS_PTRACE,      CAP_SYS_ADMIN,    CAP_CHECKPOINT_RESTORE,
				       CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE, CAP_KILL,
				       CAP_NET_ADMIN,       CAP_SETUID,       CAP_SETGID};

static bool is_wanted(unsigned cap)
{
	for (size_t i = 0; i < ARRAY_LEN(wanted_caps); i++)
		if (wanted_caps[i] == cap)
			return true;
	return false;
}

/* Another user with these capabilities and no other: through exec they go as ambient ones (capabilities(7)). */
static int become(uid_t owner)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};

	for (unsigned cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (!is_wanted(cap) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return -errno;
	if (syscall(SYS_setgroups, 0, NULL) < 0 || prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 ||
	    syscall(SYS_setresgid, owner, owner, owner) < 0 || syscall(SYS_setresuid, owner, owner, owner) < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_LEN(wanted_caps); i++) {
		struct __user_cap_data_struct *d = &data[wanted_caps[i] / 32];

		d->permitted |= 1U << (wanted_caps[i] % 32);
		d->effective = d->inheritable = d->permitted;
	}
	if (syscall(SYS_capset, &head, data) < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_LEN(wanted_caps); i++)
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, wanted_caps[i], 0, 0) < 0)
			return -errno;
	return 0;
}

/* What lies at @path, as a mount that stays writable. */
static int keep_writable(int *mount_fd, const char *path)
{
	*mount_fd = sys_open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	return *mount_fd < 0 ? *mount_fd : 0;
}

/* The host's files, read-only, but for the draft's images, the group, and /proc, where CRIU asks by writing. What hostile
 * processes could talk a CRIU into writing is not there to be written. */
static int enter_mounts(const char *images, const char *group)
{
	const char *const writable[] = {images, group, "/proc"};
	int kept[ARRAY_LEN(writable)] = {FD_NONE, FD_NONE, FD_NONE}; /* closed by exec */
	AUTO_FD int root = FD_NONE;
	int r = 0;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -errno;
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(writable); i++)
		r = keep_writable(&kept[i], writable[i]);
	if (r < 0)
		return r;
	root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = root < 0 ? -errno : sys_mount_attr(root, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, 0, true);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(writable); i++)
		r = sys_move_mount(kept[i], AT_FDCWD, writable[i]);
	return r;
}

struct entry {
	struct snap_victim victim;
	const char *images;
	int kdat_dir;
};

static int enter_cell(void *arg)
{
	const struct entry *x = arg;
	const struct snap_victim *v = &x->victim;
	/* Of PID 1, which a descriptor of ours holds. */
	int r = enter(v->init_pid, "net", CLONE_NEWNET);

	if (r == 0 && !v->host_net)
		r = raise_loopback();
	if (r == 0)
		r = enter(v->init_pid, "uts", CLONE_NEWUTS);
	if (r == 0)
		r = enter(v->init_pid, "ipc", CLONE_NEWIPC);
	if (r == 0)
		r = enter_mounts(x->images, v->group);
	if (r == 0)
		r = become(v->owner);
	return r == 0 && dup2(x->kdat_dir, KDAT_FD) < 0 ? -errno : r;
}

static int explain(const struct snap_draft *d, int status, struct err *e)
{
	AUTO_FD int log = openat(d->images, "dump.log", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	AUTO_FREE char *text = NULL;
	struct statvfs fs;
	char why[200];
	size_t len;

	if (fstatvfs(d->images, &fs) == 0 && fs.f_bavail < FULL_BLOCKS) /* then the log need not tell it */
		return err_set(e, ERR_SYSTEM, ENOSPC, "CRIU cannot dump the cell into '%s'", d->images_path);
	if (fd_valid(log) && fd_read_all(log, LOG_MAX, &text, &len) == 0) {
		snap_engine_complaint(text, why, sizeof why);
		return err_hint(e, err_set(e, ERR_UNSUPPORTED, 0, "CRIU cannot dump the cell: %s", why),
				"close what it names in fsbox_before_snapshot(), or run without --snapshot");
	}
	return err_set(e, ERR_SYSTEM, 0, "CRIU's dump ended with status %d and left no log", status);
}

static int run(const struct snap_victim *v, const struct snap_draft *d, const struct command *c, struct err *e)
{
	struct entry x = {.victim = *v, .images = d->images_path, .kdat_dir = c->kdat_dir};
	struct keeper k = {.argv = c->argv, .envp = c->envp, .enter = enter_cell, .arg = &x, .out = FD_NONE};
	int status, r = keeper_start(&k, e);

	if (r == 0)
		r = keeper_wait(&k, DUMP_WAIT_MS, v->signal_fd, &status, e);
	if (r < 0)
		return err_ctx(e, r, "dumping");
	return status == 0 ? 0 : explain(d, status, e);
}

/* They are the other user's; the store is ours alone. */
static int take_over(const struct snap_draft *d, struct err *e)
{
	AUTO_FD int fd = openat(d->images, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd_valid(fd) ? fdopendir(fd) : NULL;
	struct dirent *de;
	int r = 0;

	if (!dir)
		return err_sys(e, errno, "reading '%s'", d->images_path);
	(void)take_fd(&fd);
	while (r == 0 && (de = readdir(dir))) {
		if (de->d_name[0] == '.')
			continue;
		if (fchownat(d->images, de->d_name, geteuid(), getegid(), AT_SYMLINK_NOFOLLOW) < 0 ||
		    fchmodat(d->images, de->d_name, 0444, 0) < 0)
			r = err_sys(e, errno, "taking over '%s/%s'", d->images_path, de->d_name);
	}
	(void)closedir(dir);
	if (r == 0 && (fchown(d->images, geteuid(), getegid()) < 0 || fchmod(d->images, 0755) < 0))
		r = err_sys(e, errno, "taking over '%s'", d->images_path);
	return r;
}

int snap_dump(const struct snap_engine *en, const struct snap_victim *v, struct buf *kdat, struct snap_draft *d,
	      struct err *e)
{
	AUTO(command_done) struct command c = {.kdat_dir = FD_NONE};
	struct libraries l = {.m = &d->m};
	char paths[2 * sizeof en->dir];
	int r = note_pipes(v, &d->m, e);

	if (r == 0 && v->host_userland)
		r = each_task(v->pid, note_libraries, &l, 0, e);
	if (r == 0)
		r = make_command(en, v, d, &c, paths, sizeof paths, e);
	if (r == 0)
		r = make_kdat_dir(&c, kdat, e);
	if (r == 0 && fchown(d->images, v->owner, (gid_t)-1) < 0)
		r = err_sys(e, errno, "handing '%s' to CRIU", d->images_path);
	if (r == 0)
		r = snap_clock_now(&d->m.taken, e);
	if (r == 0)
		r = run(v, d, &c, e);
	if (r == 0)
		take_kdat(&c, kdat);
	if (r == 0)
		r = take_over(d, e);
	return r == 0 ? image_detach(d->images, &d->m, e) : r;
}
