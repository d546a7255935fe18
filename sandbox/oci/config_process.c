/* "process": config.md, and "capabilities", "rlimits", "scheduler", "ioPriority" of it. */
#include "oci/config_tables.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/ioprio.h>
#include <sched.h>
#include <stdio.h>

#define AT(member) offsetof(struct ct_process, member)

/* ---- Capabilities ---- */

#define CAP(n)        \
	{             \
#n, n \
	}
static const struct word capability_words[] = {
	CAP(CAP_CHOWN),
	CAP(CAP_DAC_OVERRIDE),
	CAP(CAP_DAC_READ_SEARCH),
	CAP(CAP_FOWNER),
	CAP(CAP_FSETID),
	CAP(CAP_KILL),
	CAP(CAP_SETGID),
	CAP(CAP_SETUID),
	CAP(CAP_SETPCAP),
	CAP(CAP_LINUX_IMMUTABLE),
	CAP(CAP_NET_BIND_SERVICE),
	CAP(CAP_NET_BROADCAST),
	CAP(CAP_NET_ADMIN),
	CAP(CAP_NET_RAW),
	CAP(CAP_IPC_LOCK),
	CAP(CAP_IPC_OWNER),
	CAP(CAP_SYS_MODULE),
	CAP(CAP_SYS_RAWIO),
	CAP(CAP_SYS_CHROOT),
	CAP(CAP_SYS_PTRACE),
	CAP(CAP_SYS_PACCT),
	CAP(CAP_SYS_ADMIN),
	CAP(CAP_SYS_BOOT),
	CAP(CAP_SYS_NICE),
	CAP(CAP_SYS_RESOURCE),
	CAP(CAP_SYS_TIME),
	CAP(CAP_SYS_TTY_CONFIG),
	CAP(CAP_MKNOD),
	CAP(CAP_LEASE),
	CAP(CAP_AUDIT_WRITE),
	CAP(CAP_AUDIT_CONTROL),
	CAP(CAP_SETFCAP),
	CAP(CAP_MAC_OVERRIDE),
	CAP(CAP_MAC_ADMIN),
	CAP(CAP_SYSLOG),
	CAP(CAP_WAKE_ALARM),
	CAP(CAP_BLOCK_SUSPEND),
	CAP(CAP_AUDIT_READ),
	CAP(CAP_PERFMON),
	CAP(CAP_BPF),
	CAP(CAP_CHECKPOINT_RESTORE),
};
const struct words capability_names = {capability_words, ARRAY_LEN(capability_words), "capability"};

int config_capability(const char *name)
{
	const struct word *w = word_find(&capability_names, name);

	return w ? (int)w->value : -1;
}

/* "Any value which cannot be mapped to a relevant kernel interface [...] MUST be logged as a warning", not an error. */
static int read_caps(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here,
		     void *to)
{
	const char **names = NULL;
	int rc = field_texts(r, f, v, here, &names);
	uint64_t set = 0;

	for (size_t i = 0; rc == 0 && names[i]; i++) {
		int cap = config_capability(names[i]);

		if (cap >= 0) {
			set |= UINT64_C(1) << cap;
		} else {
			const struct json_path at = {.up = here, .index = i};

			reader_warn(r, &at, "unknown capability '%.60s' is left out", names[i]);
		}
	}
	if (rc == 0)
		*(uint64_t *)to = set;
	return rc;
}

#define CAPS(set) offsetof(struct ct_process, caps[set])
static const struct field caps_fields[] = {
	{"bounding", read_caps, CAPS(CT_BOUNDING)},       {"effective", read_caps, CAPS(CT_EFFECTIVE)},
	{"inheritable", read_caps, CAPS(CT_INHERITABLE)}, {"permitted", read_caps, CAPS(CT_PERMITTED)},
	{"ambient", read_caps, CAPS(CT_AMBIENT)},
};
TABLE(caps_table, caps_fields, struct ct_process);

static int read_capabilities(struct reader *r, const struct field *f, const struct json *v,
			     const struct json_path *here, void *to)
{
	((struct ct_process *)to)->has_caps = true;
	return field_object(r, f, v, here, to);
}

/* ---- Resource limits ---- */

#define LIMIT(n)                         \
	{                                \
		"RLIMIT_" #n, RLIMIT_##n \
	}
static const struct word rlimit_words[] = {
	LIMIT(AS),      LIMIT(CORE),     LIMIT(CPU),        LIMIT(DATA),   LIMIT(FSIZE), LIMIT(LOCKS),
	LIMIT(MEMLOCK), LIMIT(MSGQUEUE), LIMIT(NICE),       LIMIT(NOFILE), LIMIT(NPROC), LIMIT(RSS),
	LIMIT(RTPRIO),  LIMIT(RTTIME),   LIMIT(SIGPENDING), LIMIT(STACK),
};
static const struct words rlimit_names = {rlimit_words, ARRAY_LEN(rlimit_words), "resource limit"};

static const struct field rlimit_fields[] = {
	{"type", field_word, offsetof(struct ct_rlimit, resource), &rlimit_names, true},
	{"soft", field_u64, offsetof(struct ct_rlimit, value.rlim_cur), NULL, true},
	{"hard", field_u64, offsetof(struct ct_rlimit, value.rlim_max), NULL, true},
};
TABLE(rlimit_table, rlimit_fields, struct ct_rlimit);

/* ---- User ---- */

static int read_groups(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here,
		       void *to)
{
	struct ct_process *p = to;

	if (json_type_of(v) != JSON_ARRAY)
		return field_wrong_type(r, v, here, "an array of group ids");
	p->groups = reader_alloc(r, (json_length(v) + 1) * sizeof *p->groups);
	if (!p->groups)
		return -ENOMEM;
	for (; p->n_groups < json_length(v); p->n_groups++) {
		struct json_path at = {.up = here, .index = p->n_groups};
		int rc = field_u32(r, f, json_at(v, p->n_groups), &at, &p->groups[p->n_groups]);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static const struct field user_fields[] = {
	{"uid", field_u32, AT(uid)},
	{"gid", field_u32, AT(gid)},
	{"umask", field_number, AT(umask), .max = 0777},
	{"additionalGids", read_groups, 0},
	{"username", NULL, .why = "for another platform"},
};
TABLE(user_table, user_fields, struct ct_process);

static const struct field console_fields[] = {
	{"height", field_number, AT(console_rows), .max = UINT16_MAX},
	{"width", field_number, AT(console_columns), .max = UINT16_MAX},
};
TABLE(console_table, console_fields, struct ct_process);

/* ---- Scheduling ---- */

static const struct word policy_words[] = {
	{"SCHED_OTHER", SCHED_OTHER}, {"SCHED_FIFO", SCHED_FIFO}, {"SCHED_RR", SCHED_RR},
	{"SCHED_BATCH", SCHED_BATCH}, {"SCHED_ISO", 4},           {"SCHED_IDLE", SCHED_IDLE},
	{"SCHED_DEADLINE", 6},
};
static const struct words policy_names = {policy_words, ARRAY_LEN(policy_words), "scheduling policy"};

/* sched_setattr(2), include/uapi/linux/sched.h: SCHED_FLAG_… */
static const struct word sched_flag_words[] = {
	{"SCHED_FLAG_RESET_ON_FORK", 0x01},  {"SCHED_FLAG_RECLAIM", 0x02},     {"SCHED_FLAG_DL_OVERRUN", 0x04},
	{"SCHED_FLAG_KEEP_POLICY", 0x08},    {"SCHED_FLAG_KEEP_PARAMS", 0x10}, {"SCHED_FLAG_UTIL_CLAMP_MIN", 0x20},
	{"SCHED_FLAG_UTIL_CLAMP_MAX", 0x40},
};
static const struct words sched_flag_names = {sched_flag_words, ARRAY_LEN(sched_flag_words), "scheduling flag"};

#define SCHED(member) offsetof(struct ct_process, scheduler.member)
static const struct field scheduler_fields[] = {
	{"policy", field_word, SCHED(policy), &policy_names, true},
	{"nice", field_i64, SCHED(nice), .min = -20, .max = 19},
	{"priority", field_i64, SCHED(priority), .min = 0, .max = 99},
	{"flags", field_bits, SCHED(flags), &sched_flag_names},
	{"runtime", field_i64, SCHED(runtime_ns), .min = 0, .max = INT64_MAX},
	{"deadline", field_i64, SCHED(deadline_ns), .min = 0, .max = INT64_MAX},
	{"period", field_i64, SCHED(period_ns), .min = 0, .max = INT64_MAX},
};
TABLE(scheduler_table, scheduler_fields, struct ct_process);

static int read_scheduler(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here,
			  void *to)
{
	struct ct_process *p = to;
	const struct ct_scheduler *s = &p->scheduler;
	int rc = field_object(r, f, v, here, to);
	const bool real_time = s->policy == SCHED_FIFO || s->policy == SCHED_RR;

	p->scheduler.set = true;
	if (rc < 0)
		return rc;
	if (s->priority != 0 && !real_time)
		return json_err(r->e, r->doc, here, "'priority' is for SCHED_FIFO and SCHED_RR only");
	if ((s->runtime_ns || s->deadline_ns || s->period_ns) && s->policy != 6)
		return json_err(r->e, r->doc, here, "'runtime', 'deadline', 'period' are for SCHED_DEADLINE only");
	return 0;
}

static const struct word io_class_words[] = {
	{"IOPRIO_CLASS_RT", IOPRIO_CLASS_RT},
	{"IOPRIO_CLASS_BE", IOPRIO_CLASS_BE},
	{"IOPRIO_CLASS_IDLE", IOPRIO_CLASS_IDLE},
};
static const struct words io_class_names = {io_class_words, ARRAY_LEN(io_class_words), "class of I/O priority"};

struct io_priority {
	int class;
	int64_t priority;
};
static const struct field io_fields[] = {
	{"class", field_word, offsetof(struct io_priority, class), &io_class_names, true},
	{"priority", field_i64, offsetof(struct io_priority, priority), .min = 0, .max = 7},
};
TABLE(io_table, io_fields, struct io_priority);

static int read_io_priority(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here,
			    void *to)
{
	struct io_priority io = {0};
	int rc = field_object(r, f, v, here, &io);

	if (rc == 0)
		*(struct ct_number *)to =
			(struct ct_number){.set = true, .v = (int64_t)IOPRIO_PRIO_VALUE(io.class, (int)io.priority)};
	return rc;
}

static const struct field affinity_fields[] = {
	{"initial", field_cpus, AT(affinity_initial)},
	{"final", field_cpus, AT(affinity_final)},
};
TABLE(affinity_table, affinity_fields, struct ct_process);

static const struct field process_fields[] = {
	{"terminal", field_bool, AT(terminal)},
	{"consoleSize", field_object, 0, &console_table},
	{"user", field_object, 0, &user_table},
	{"args", field_texts, AT(args)},
	{"env", field_texts, AT(env)},
	{"cwd", field_text, AT(cwd), NULL, true},
	{"capabilities", read_capabilities, 0, &caps_table},
	{"rlimits", field_objects, AT(rlimits), &rlimit_table},
	{"noNewPrivileges", field_bool, AT(no_new_privs)},
	{"oomScoreAdj", field_number, AT(oom_score_adj), .min = -1000, .max = 1000},
	{"apparmorProfile", field_text, AT(apparmor)},
	{"selinuxLabel", field_text, AT(selinux)},
	{"scheduler", read_scheduler, 0, &scheduler_table},
	{"ioPriority", read_io_priority, AT(io_priority), &io_table},
	{"execCPUAffinity", field_object, 0, &affinity_table},
	{"commandLine", NULL, .why = "for another platform"},
};
const struct table process_table = {process_fields, ARRAY_LEN(process_fields), sizeof(struct ct_process)};

int config_check_process(const struct ct_process *p, const struct json_doc *doc, struct err *e)
{
	const struct json_path process = {.key = "process"};
	const struct json_path args = {.up = &process, .key = "args"}, cwd = {.up = &process, .key = "cwd"};

	/* Absent "capabilities" are none, as with runc: an engine that wants some says so. */
	if (!p->args || !p->args[0])
		return json_err(e, doc, &args, "args must not be empty");
	if (!p->cwd || p->cwd[0] != '/')
		return json_err(e, doc, &cwd, "cwd must be an absolute path, got '%s'", p->cwd ? p->cwd : "");
	for (size_t i = 0; i < p->n_rlimits; i++) {
		const struct json_path limits = {.up = &process, .key = "rlimits"};
		const struct json_path at = {.up = &limits, .index = i};

		if (p->rlimits[i].value.rlim_cur > p->rlimits[i].value.rlim_max)
			return json_err(e, doc, &at, "'soft' is above 'hard'");
		for (size_t j = 0; j < i; j++)
			if (p->rlimits[j].resource == p->rlimits[i].resource)
				return json_err(e, doc, &at, "the same limit a second time");
	}
	return 0;
}
