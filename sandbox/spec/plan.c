/* Spec and host facts in, plan out. No system call is made here. */
#include "spec/plan.h"

#include <errno.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <stdio.h>

#define RO (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)

/* What proc(5) shows of the machine beyond the cell's own processes; the rest of /proc is read-only as a whole.
 * The list is OCI engines' usual one. */
static const char *const masked_files[] = {
	"proc/interrupts", "proc/kcore",       "proc/keys",        "proc/key-users",     "proc/latency_stats",
	"proc/timer_list", "proc/timer_stats", "proc/sched_debug", "proc/sysrq-trigger", "proc/kmsg",
};
static const char *const masked_dirs[] = {"proc/acpi", "proc/asound", "proc/scsi", "proc/fs", "proc/bus"};

static const char *const dev_nodes[] = {"null", "zero", "full", "random", "urandom", "tty"};

static int too_big(struct err *e, const char *what)
{
	return err_set(e, ERR_LIMIT, E2BIG, "the plan of the cell has too many %s", what);
}

static int skel_add(struct cell_plan *p, enum skel_kind kind, const char *path, const char *text, struct err *e)
{
	if (p->n_skel == PLAN_MAX_SKEL)
		return too_big(e, "files");
	if (!path)
		return err_oom(e);
	p->skel[p->n_skel++] = (struct skel_entry){.kind = kind, .path = path, .text = text};
	return 0;
}

static int mount_add(struct cell_plan *p, struct plan_mount m, struct err *e)
{
	if (p->n_mounts == PLAN_MAX_MOUNTS)
		return too_big(e, "mounts");
	if (!m.target || (m.kind == MOUNT_TREE && !m.source))
		return err_oom(e);
	p->mounts[p->n_mounts++] = m;
	return 0;
}

static int env_add(struct cell_plan *p, const char *pair, struct err *e)
{
	if (!pair)
		return err_oom(e);
	if (p->n_env + 1 >= PLAN_MAX_ENV)
		return too_big(e, "environment variables");
	p->envp[p->n_env++] = pair;
	return 0;
}

/* Without prepared nodes, /dev is part of the skeleton and the host's nodes are bound over empty files. */
static int plan_dev_skeleton(struct cell_plan *p, const struct host_facts *host, struct err *e)
{
	static const struct skel_entry links[] = {
		{SKEL_LINK, "dev/fd", "/proc/self/fd"},
		{SKEL_LINK, "dev/stdin", "/proc/self/fd/0"},
		{SKEL_LINK, "dev/stdout", "/proc/self/fd/1"},
		{SKEL_LINK, "dev/stderr", "/proc/self/fd/2"},
		{SKEL_LINK, "dev/shm", "/tmp"},
	};
	int r;

	if (host->dev_dir)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(links); i++)
		if ((r = skel_add(p, links[i].kind, links[i].path, links[i].text, e)) < 0)
			return r;
	for (size_t i = 0; i < ARRAY_LEN(dev_nodes); i++)
		if ((r = skel_add(p, SKEL_TEXT, arena_printf(&p->arena, "dev/%s", dev_nodes[i]), "", e)) < 0)
			return r;
	return 0;
}

/* Directories, links and files that every root has; mount points among them. */
static int plan_skeleton(struct cell_plan *p, const struct cell_spec *spec, const struct host_facts *host,
			 struct err *e)
{
	static const struct skel_entry base[] = {
		{SKEL_DIR, "usr", NULL},
		{SKEL_DIR, "proc", NULL},
		{SKEL_DIR, "sys", NULL},
		{SKEL_DIR, "dev", NULL},
		{SKEL_DIR, "tmp", NULL},
		{SKEL_DIR, "opt", NULL},
		{SKEL_DIR, "run", NULL},
		{SKEL_DIR, "var", NULL},
		{SKEL_DIR, "var/task", NULL},
		{SKEL_DIR, "var/runtime", NULL},
		{SKEL_LINK, "var/tmp", "/tmp"},
		{SKEL_DIR, "etc", NULL},
		{SKEL_TEXT, "etc/passwd",
		 "root:x:0:0:root:/:/usr/sbin/nologin\nfsbox:x:993:993:fsbox:/tmp:/usr/sbin/nologin\n"
		 "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"},
		{SKEL_TEXT, "etc/group", "root:x:0:\nfsbox:x:993:\nnogroup:x:65534:\n"},
		{SKEL_TEXT, "etc/hosts",
		 "127.0.0.1 localhost sandbox.localdomain sandbox\n::1 localhost ip6-localhost\n"},
		{SKEL_TEXT, "etc/nsswitch.conf",
		 "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n"},
	};
	static const struct skel_entry own_userland[] = {
		{SKEL_LINK, "etc/localtime", "/usr/share/zoneinfo/UTC"},
		{SKEL_COPY, "etc/ld.so.cache", "/etc/ld.so.cache"},
		{SKEL_DIR, "etc/ssl", NULL},
		{SKEL_COPY, "etc/ssl/openssl.cnf", "/etc/ssl/openssl.cnf"},
		{SKEL_DIR, "etc/ssl/certs", NULL},
		{SKEL_COPY, "etc/ssl/certs/ca-certificates.crt", "/etc/ssl/certs/ca-certificates.crt"},
		{SKEL_COPY, "etc/services", "/etc/services"},
		{SKEL_COPY, "etc/protocols", "/etc/protocols"},
		{SKEL_COPY, "etc/mime.types", "/etc/mime.types"},
	};
	int r;

	for (size_t i = 0; i < ARRAY_LEN(base); i++)
		if ((r = skel_add(p, base[i].kind, base[i].path, base[i].text, e)) < 0)
			return r;
	/* Modules do not look at NODE_PATH: an import goes up from the importing file, from /var/task to here. */
	if (host->code.runtime == SPEC_RUNTIME_NODE &&
	    (r = skel_add(p, SKEL_LINK, "var/node_modules", "/var/runtime/node/node_modules", e)) < 0)
		return r;
	if (spec->net == SPEC_NET_HOST)
		r = skel_add(p, SKEL_COPY, "etc/resolv.conf", "/etc/resolv.conf", e);
	else
		r = skel_add(p, SKEL_TEXT, "etc/resolv.conf", "# no network beyond loopback\n", e);
	if (r < 0)
		return r;
	r = plan_dev_skeleton(p, host, e);
	/* In somebody's root it would be loaded into whatever is started there, CRIU before the cell is confined
	 * included. */
	if (r == 0 && spec->rootfs)
		return skel_add(p, SKEL_TEXT, "etc/ld.so.preload", "", e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_LEN(own_userland); i++)
		if ((r = skel_add(p, own_userland[i].kind, own_userland[i].path, own_userland[i].text, e)) < 0)
			return r;
	for (size_t i = 0; i < host->n_userland; i++) {
		const char *link = host->userland[i].link;

		r = skel_add(p, link ? SKEL_LINK : SKEL_DIR, host->userland[i].name, link, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Where the code stands, by its name from the root. Not for that of an image. */
static const char *task_path(struct cell_plan *p, const struct host_facts *host)
{
	return host->code.dir ? "var/task" : arena_printf(&p->arena, "var/task/%s", base_name(host->target_path));
}

static int plan_root(struct cell_plan *p, const struct cell_spec *spec, const struct host_facts *host, struct err *e)
{
	const char *skel = arena_printf(&p->arena, "%s/%s", host->state_dir, p->skel_name);
	struct plan_mount m = {.kind = MOUNT_TREE, .target = "", .source = skel, .set = RO};

	if (!skel)
		return err_oom(e);
	if (spec->rootfs) {
		/* Our mount points win over whatever stands at these names in somebody's tree, links included. */
		m.kind = MOUNT_OVERLAY;
		m.lower[0] = skel;
		m.lower[1] = spec->rootfs;
	}
	return mount_add(p, m, e);
}

static int plan_layers(struct cell_plan *p, const struct cell_spec *spec, struct err *e)
{
	struct plan_mount m = {.kind = MOUNT_TREE, .target = "opt", .source = spec->layers[0], .set = RO};

	if (spec->n_layers == 0)
		return 0;
	if (spec->n_layers > 1)
		m.kind = MOUNT_OVERLAY;
	for (size_t i = 0; i < spec->n_layers; i++) /* the first of the list lies on top, the last layer wins */
		m.lower[i] = spec->layers[spec->n_layers - 1 - i];
	return mount_add(p, m, e);
}

static int plan_dev(struct cell_plan *p, const struct host_facts *host, struct err *e)
{
	const unsigned set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;

	if (host->dev_dir) /* its own mount has the nodev of the file system around it taken off */
		return mount_add(p,
				 (struct plan_mount){.target = "dev",
						     .source = host->dev_dir,
						     .set = set,
						     .clear = MOUNT_ATTR_NODEV},
				 e);
	for (size_t i = 0; i < ARRAY_LEN(dev_nodes); i++) {
		char *target = arena_printf(&p->arena, "dev/%s", dev_nodes[i]);
		char *source = arena_printf(&p->arena, "/dev/%s", dev_nodes[i]);
		int r = mount_add(p,
				  (struct plan_mount){.target = target,
						      .source = source,
						      .set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID},
				  e);

		if (r < 0)
			return r;
	}
	return 0;
}

static int plan_masks(struct cell_plan *p, const struct host_facts *host, struct err *e)
{
	const char *empty = arena_printf(&p->arena, "%s/%s/sys", host->state_dir, p->skel_name);
	int r;

	for (size_t i = 0; i < ARRAY_LEN(masked_files); i++) {
		r = mount_add(p,
			      (struct plan_mount){.target = masked_files[i],
						  .source = "/dev/null",
						  .set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID,
						  .optional = true},
			      e);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < ARRAY_LEN(masked_dirs); i++) {
		r = mount_add(
			p, (struct plan_mount){.target = masked_dirs[i], .source = empty, .set = RO, .optional = true},
			e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* /run is the cell's own when there is something to stand in it. A function without snapshots and secrets has the empty
 * directory of the skeleton, which costs nothing. */
static int plan_run(struct cell_plan *p, const struct cell_spec *spec, const struct host_facts *host, struct err *e)
{
	struct plan_mount run = {.kind = MOUNT_OWN,
				 .target = "run",
				 .size = 65536,
				 .set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
				 .dirs = {"fsbox", "secrets", host->role == PLAN_RESTORED ? "criu" : NULL}};
	int r;

	if (host->role == PLAN_PLAIN && spec->n_secrets == 0)
		return 0;
	p->has_run = true;
	for (size_t i = 0; i < host->n_secrets; i++) {
		p->files[p->n_files++] =
			(struct plan_file){.path = arena_printf(&p->arena, "run/secrets/%s", host->secrets[i].name),
					   .data = arena_memdup(&p->arena, host->secrets[i].data, host->secrets[i].len),
					   .len = host->secrets[i].len,
					   .mode = 0400,
					   .owned = true};
		if (!p->files[p->n_files - 1].path || !p->files[p->n_files - 1].data)
			return err_oom(e);
		run.size += host->secrets[i].len + 8192; /* whole pages, and the file itself */
	}
	if (host->generation)
		p->files[p->n_files++] = (struct plan_file){.path = "run/fsbox/generation",
							    .data = arena_strdup(&p->arena, host->generation),
							    .len = strlen(host->generation),
							    .mode = 0444};
	if (host->generation && !p->files[p->n_files - 1].data)
		return err_oom(e);
	r = mount_add(p, run, e);
	if (r < 0 || host->role != PLAN_RESTORED)
		return r;
	/* Detached in one piece before the function runs. */
	r = mount_add(p,
		      (struct plan_mount){.kind = MOUNT_OWN,
					  .target = "run/criu",
					  .size = 1 << 20, /* CRIU's log and what it knows of the kernel */
					  .set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
					  .dirs = {"engine", "images", "work"}},
		      e);
	if (r == 0)
		r = mount_add(p,
			      (struct plan_mount){.target = "run/criu/engine", .source = host->engine_dir, .set = RO},
			      e);
	return r == 0 ? mount_add(p,
				  (struct plan_mount){.target = "run/criu/images",
						      .source = host->images_dir,
						      .set = RO | MOUNT_ATTR_NOEXEC},
				  e)
		      : r;
}

static int plan_mounts(struct cell_plan *p, const struct cell_spec *spec, const struct host_facts *host, struct err *e)
{
	const unsigned scratch = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
	struct plan_mount tmp = {.kind = MOUNT_TMPFS, .target = "tmp", .size = spec->tmp_bytes, .set = scratch};
	struct plan_mount proc = {.kind = MOUNT_PROC, .target = "proc", .set = RO | MOUNT_ATTR_NOEXEC};
	int r = plan_root(p, spec, host, e);

	if (host->role == PLAN_RESTORED) /* CRIU writes there; read-only before the function runs */
		proc.set &= ~(unsigned)MOUNT_ATTR_RDONLY;
	if (r == 0 && !spec->rootfs)
		r = mount_add(p, (struct plan_mount){.target = "usr", .source = "/usr", .set = RO}, e);
	for (size_t i = 0; r == 0 && !spec->rootfs && i < host->n_userland; i++)
		if (!host->userland[i].link)
			r = mount_add(p,
				      (struct plan_mount){.target = host->userland[i].name,
							  .source = arena_printf(&p->arena, "/%s",
										 host->userland[i].name),
							  .set = RO},
				      e);
	if (r == 0)
		r = plan_dev(p, host, e);
	if (r == 0)
		r = mount_add(p, (struct plan_mount){.target = "var/runtime", .source = host->runtime_dir, .set = RO},
			      e);
	if (r == 0 && host->target_path)
		r = mount_add(p,
			      (struct plan_mount){.target = task_path(p, host),
						  .source = arena_strdup(&p->arena, host->target_source),
						  .set = RO},
			      e);
	if (r == 0)
		r = plan_layers(p, spec, e);
	if (host->tmp_source) {
		tmp.kind = MOUNT_TREE;
		tmp.source = host->tmp_source;
	}
	if (r == 0)
		r = mount_add(p, tmp, e);
	if (r == 0)
		r = plan_run(p, spec, host, e);
	if (r == 0)
		r = mount_add(p, proc, e);
	return r == 0 ? plan_masks(p, host, e) : r;
}

/* Where libraries of the code's own would lie. A function that is one file and has no layers has none, and a path to look
 * along would only make its start slower. */
static const char *library_path(const struct cell_spec *spec, const struct host_facts *host)
{
	if (host->code.dir)
		return spec->n_layers > 0 ? "LD_LIBRARY_PATH=/var/task:/var/task/lib:/opt/lib"
					  : "LD_LIBRARY_PATH=/var/task:/var/task/lib";
	return spec->n_layers > 0 ? "LD_LIBRARY_PATH=/opt/lib" : "";
}

/* May bring a libuv. */
static bool is_foreign(enum spec_runtime r)
{
	return r == SPEC_RUNTIME_NODE || r == SPEC_RUNTIME_CUSTOM;
}

/* Is there a variable of the same name? */
static bool env_has(const struct cell_plan *p, const char *pair)
{
	const size_t key = strcspn(pair, "=") + 1;

	for (size_t i = 0; i < p->n_env; i++)
		if (strncmp(p->envp[i], pair, key) == 0)
			return true;
	return false;
}

/* An image's variables stand behind the function's, and before ours but for those that no function may set. */
static int plan_image_env(struct cell_plan *p, const struct spec_image *image, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && image && image->env[i]; i++)
		if (!spec_is_reserved(image->env[i]) && !env_has(p, image->env[i]))
			r = env_add(p, arena_strdup(&p->arena, image->env[i]), e);
	return r;
}

/* May the policy bring a filter that the runtime installs? Python then loads what it needs for that in its init, which has
 * a whole CPU, and not in the first call, which has the share. */
static bool comes_after_init(const struct cell_spec *spec)
{
	static const char *const before[] = {"default", "custom", "none"};

	for (size_t i = 0; i < ARRAY_LEN(before); i++)
		if (strcmp(spec->policy, before[i]) == 0)
			return false;
	return true;
}

static int plan_env(struct cell_plan *p, const struct cell_spec *spec, const struct host_facts *host, struct err *e)
{
	struct arena *a = &p->arena;
	const char *name = p->function_name;
	const char *fixed[] = {
		"PATH=/usr/local/bin:/usr/bin:/bin:/opt/bin",
		"LANG=C.UTF-8",
		"TZ=:UTC",
		"HOME=/tmp",
		"LAMBDA_TASK_ROOT=/var/task",
		"LAMBDA_RUNTIME_DIR=/var/runtime",
		"AWS_LAMBDA_FUNCTION_VERSION=$LATEST",
		host->role == PLAN_PLAIN ? "AWS_LAMBDA_INITIALIZATION_TYPE=on-demand"
					 : "AWS_LAMBDA_INITIALIZATION_TYPE=snap-start",
		arena_printf(a, "AWS_LAMBDA_FUNCTION_NAME=%s", name),
		arena_printf(a, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=%llu", (unsigned long long)(spec->memory_bytes >> 20)),
		arena_printf(a, "AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/%s", name),
		arena_printf(a, "_HANDLER=%s", host->code.handler ? host->code.handler : base_name(host->target_path)),
		comes_after_init(spec) && host->code.runtime == SPEC_RUNTIME_PYTHON ? "_FSBOX_FILTER=1" : "",
		/* Of the host's network a cell takes the port that is free. */
		host->code.runtime == SPEC_RUNTIME_CUSTOM && spec->net == SPEC_NET_HOST
			? "AWS_LAMBDA_RUNTIME_API_PORT=0"
			: "",
		/* What is published does not know it yet, as on Lambda. */
		host->role == PLAN_PUBLISHED ? "" : arena_printf(a, "AWS_LAMBDA_LOG_STREAM_NAME=[$LATEST]%s", p->id),
		library_path(spec, host),
		/* Its pool would go past the policy, which refuses io_uring (and libuv only then does without). */
		is_foreign(host->code.runtime) ? "UV_USE_IO_URING=0" : "",
		host->code.runtime == SPEC_RUNTIME_NODE
			? "NODE_PATH=/opt/nodejs/node_modules:/var/runtime/node/node_modules"
			: "",
		/* Of several, glibc shrinks those of threads only after a look at a file, in the middle of a call, which
		 * policy strict answers with SIGSYS. */
		host->code.runtime == SPEC_RUNTIME_NODE ? "MALLOC_ARENA_MAX=1" : "",
	};
	int r;

	/* A function's own variables come first: it may replace the values that Lambda does not reserve. */
	for (size_t i = 0; i < spec->n_env; i++) {
		const bool keep_out = host->role == PLAN_PUBLISHED && host->code.runtime == SPEC_RUNTIME_CUSTOM &&
				      spec_is_credential(spec->env[i]);

		r = env_add(p, keep_out ? "_FSBOX_CREDENTIALS=1" : spec->env[i], e);
		if (r < 0)
			return r;
	}
	r = plan_image_env(p, host->code.image, e);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(fixed); i++)
		if (!fixed[i] || (fixed[i][0] && !env_has(p, fixed[i])))
			r = env_add(p, fixed[i], e);
	return r;
}

/* FNV-1a over everything that decides a skeleton's content: equal content, equal name, one directory for all. */
static uint64_t hash(uint64_t h, const char *s)
{
	do
		h = (h ^ (unsigned char)*s) * UINT64_C(1099511628211);
	while (*s++);
	return h;
}

static int name_skeleton(struct cell_plan *p, const struct host_facts *host, struct err *e)
{
	uint64_t h = UINT64_C(14695981039346656037);

	for (size_t i = 0; i < p->n_skel; i++) {
		const struct skel_entry *s = &p->skel[i];
		const char kind[] = {(char)('a' + (int)s->kind), '\0'};

		h = hash(hash(hash(h, kind), s->path), s->text ? s->text : "");
	}
	p->skel_name = arena_printf(&p->arena, "root-%016llx-%016llx", (unsigned long long)h,
				    (unsigned long long)host->files_stamp);
	return p->skel_name ? 0 : err_oom(e);
}

size_t plan_cell_rlimits(const struct plan_rlimit **ret)
{
	static const struct plan_rlimit limits[] = {
		{RLIMIT_CORE, 0}, {RLIMIT_NOFILE, 1024}, /* Lambda's */
	};

	*ret = limits;
	return ARRAY_LEN(limits);
}

static void plan_rlimits(struct cell_plan *p)
{
	const struct plan_rlimit *limits;

	p->n_rlimits = plan_cell_rlimits(&limits);
	memcpy(p->rlimits, limits, p->n_rlimits * sizeof *limits);
}

static void plan_namespaces(struct cell_plan *p, const struct cell_spec *spec, const struct host_facts *host)
{
	p->ns_flags = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS;
	if (spec->net != SPEC_NET_HOST)
		p->ns_flags |= CLONE_NEWNET;
	p->lo_up = spec->net == SPEC_NET_LOOPBACK;
	p->privileged = host->privileged;
	p->uid_outside = host->privileged ? host->range_base : host->euid;
	p->gid_outside = host->privileged ? host->range_base : host->egid;
	p->map_inside = host->privileged ? 0 : CELL_UID;
	p->map_count = host->privileged ? CELL_ID_RANGE : 1;
}

/* A tenth of the memory for what is not its heap: then it says so itself when that is full, and is not just killed. */
static const char *heap_limit(struct cell_plan *p, const struct cell_spec *spec)
{
	return arena_printf(&p->arena, "--max-old-space-size=%llu",
			    (unsigned long long)(spec->memory_bytes >> 20) * 9 / 10);
}

/* AWS_LAMBDA_EXEC_WRAPPER: a program that gets an interpreter and its arguments as its own; the last of several counts, an
 * empty one is none. Custom runtimes have it from the Runtime API's server. */
static const char *find_wrapper(const struct cell_spec *spec, enum spec_runtime runtime)
{
	static const char key[] = "AWS_LAMBDA_EXEC_WRAPPER=";
	const char *found = NULL;

	for (size_t i = 0; i < spec->n_env && (runtime == SPEC_RUNTIME_PYTHON || runtime == SPEC_RUNTIME_NODE); i++)
		if (strncmp(spec->env[i], key, sizeof key - 1) == 0)
			found = spec->env[i] + sizeof key - 1;
	return found && *found ? found : NULL;
}

/* What PID 1 executes. */
static int plan_argv(struct cell_plan *p, const struct cell_spec *spec, const struct host_facts *host, struct err *e)
{
	const char *task = host->target_path ? arena_printf(&p->arena, "/%s", task_path(p, host)) : "";
	const char *heap = heap_limit(p, spec);
	const char *native[] = {"/var/runtime/native", task, NULL};
	const char *python[] = {host->code.interpreter, "/var/runtime/python/main.py", NULL};
	const char *node[] = {host->code.interpreter, heap, "/var/runtime/node/main.cjs", NULL};
	const char *custom[] = {"/var/runtime/api", host->code.dir || host->code.image ? NULL : task, NULL};
	/* The runtime was the first process that PID 1 made, and is so again. */
	static const char *const adopt[] = {"--adopt", "2", NULL};
	const char *const *words = native;
	size_t n = 1;

	if (!task || !heap)
		return err_oom(e);
	if (p->role == PLAN_RESTORED)
		words = adopt;
	else if (host->code.runtime == SPEC_RUNTIME_PYTHON)
		words = python;
	else if (host->code.runtime == SPEC_RUNTIME_NODE)
		words = node;
	else if (host->code.runtime == SPEC_RUNTIME_CUSTOM)
		words = custom;
	p->argv[0] = "/var/runtime/init";
	if (p->role != PLAN_RESTORED && find_wrapper(spec, host->code.runtime))
		p->argv[n++] = find_wrapper(spec, host->code.runtime);
	for (; *words; words++)
		p->argv[n++] = *words;
	if (p->role != PLAN_RESTORED && host->code.image)
		for (words = host->code.image->args; *words; words++)
			if (!(p->argv[n++] = arena_strdup(&p->arena, *words)))
				return err_oom(e);
	return 0;
}

int plan_make(const struct cell_spec *spec, const struct host_facts *host, const char *id, struct cell_plan **ret_plan,
	      struct err *e)
{
	AUTO(plan_freep) struct cell_plan *p = calloc(1, sizeof *p);
	char derived[SPEC_MAX_NAME + 1];
	int r;

	if (!p)
		return err_oom(e);
	(void)snprintf(p->id, sizeof p->id, "%s", id);
	(void)snprintf(p->function_name, sizeof p->function_name, "%s", spec_function_name(spec, derived));
	plan_namespaces(p, spec, host);
	plan_rlimits(p);
	p->role = host->role;
	r = plan_skeleton(p, spec, host, e);
	if (r == 0 && host->target_path && !host->code.dir)
		r = skel_add(p, SKEL_TEXT, task_path(p, host), "", e);
	if (r == 0)
		r = name_skeleton(p, host, e);
	if (r == 0)
		r = plan_mounts(p, spec, host, e);
	if (r == 0)
		r = plan_env(p, spec, host, e);
	if (r == 0)
		r = plan_argv(p, spec, host, e);
	if (r < 0)
		return r;
	p->cwd = host->code.image ? host->code.image->cwd : "/var/task";
	*ret_plan = take_ptr(&p);
	return 0;
}

void plan_free(struct cell_plan *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n_files; i++) {
		void *data;

		memcpy(&data, &p->files[i].data, sizeof data);
		if (p->files[i].owned && data) /* a secret */
			explicit_bzero(data, p->files[i].len);
	}
	arena_done(&p->arena);
	free(p);
}
