/* The table of cells: one file in the state directory, one fixed-size record for each slot, one byte-range lock for each
 * record (fcntl(2), open file description locks). Who holds the lock of byte N owns slot N and with it the Nth range of
 * outside ids. The kernel drops the lock when the owner dies, however it dies; a record that is written but not locked is
 * therefore what a dead owner left, and whoever opens the table next removes it. */
#include "cell/internal.h"

#include "base/clock.h"
#include "base/fd.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define RETRY_NS (60 * NS_PER_S)

static int lock_byte(int fd, int slot, short type)
{
	struct flock fl = {.l_type = type, .l_whence = SEEK_SET, .l_start = slot, .l_len = 1};

	return fcntl(fd, F_OFD_SETLK, &fl) < 0 ? -errno : 0;
}

static off_t record_at(int slot)
{
	return (off_t)slot * (off_t)sizeof(struct slot_record);
}

int slots_open(const char *state_dir, struct err *e)
{
	char path[192];

	(void)snprintf(path, sizeof path, "%s/cells", state_dir);

	int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, errno, "opening the table of cells '%s'", path);
	return fd;
}

static int n_records(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	return (int)(st.st_size / (off_t)sizeof(struct slot_record));
}

static bool in_use(int fd, int slot)
{
	char first;

	return pread(fd, &first, 1, record_at(slot) + (off_t)offsetof(struct slot_record, cgroup_name)) == 1 && first;
}

int slot_take(int slots, unsigned max, unsigned char *held, struct err *e)
{
	for (int slot = 0; slot < (int)max; slot++) {
		int r;

		/* The kernel lets us lock again what we have locked, and to unlock it then would give away a living
		 * cell. */
		if (held && held[slot])
			continue;
		r = lock_byte(slots, slot, F_WRLCK);
		if (r == -EAGAIN || r == -EACCES)
			continue;
		if (r < 0)
			return err_sys(e, r, "locking slot %d of the table of cells", slot);
		if (!in_use(slots, slot)) {
			if (held)
				held[slot] = 1;
			return slot;
		}
		/* Its owner died after our sweep. The next start removes what it left; we take another. */
		(void)lock_byte(slots, slot, F_UNLCK);
	}
	return err_set(e, ERR_CAPACITY, EUSERS, "all %u slots for cells on this host are taken", max);
}

int slot_write(int slots, int slot, const struct slot_record *rec, struct err *e)
{
	ssize_t n = pwrite(slots, rec, sizeof *rec, record_at(slot));

	return n == (ssize_t)sizeof *rec ? 0 : err_sys(e, n < 0 ? errno : ENOSPC, "writing the table of cells");
}

void slot_release(int slots, int slot)
{
	static const struct slot_record empty;

	/* A record that cannot be cleared is swept by the next start: its group is gone, which is success there. */
	if (pwrite(slots, &empty, sizeof empty, record_at(slot)) < 0)
		return;
	(void)lock_byte(slots, slot, F_UNLCK);
}

static int sweep_one(int slots, int slot, int (*sweep)(const struct slot_record *, void *, struct err *), void *arg,
		     struct err *e)
{
	struct slot_record rec;
	int r = lock_byte(slots, slot, F_WRLCK);

	if (r == -EAGAIN || r == -EACCES)
		return 0; /* its owner lives */
	if (r < 0)
		return err_sys(e, r, "locking slot %d of the table of cells", slot);
	if (pread(slots, &rec, sizeof rec, record_at(slot)) == (ssize_t)sizeof rec && rec.cgroup_name[0]) {
		rec.cgroup_parent[sizeof rec.cgroup_parent - 1] = '\0';
		rec.cgroup_name[sizeof rec.cgroup_name - 1] = '\0';
		rec.quota_path[sizeof rec.quota_path - 1] = '\0';
		const uint64_t now = clock_mono_ns();

		/* What hangs in the kernel must not cost every start the time of waiting for it. */
		r = rec.retry_ns > now && rec.retry_ns < now + RETRY_NS ? -EBUSY : sweep(&rec, arg, e);
		if (r < 0) {
			if (e->kind != ERR_NONE) {
				rec.retry_ns = now + RETRY_NS;
				(void)!slot_write(slots, slot, &rec, &(struct err){0});
			}
			(void)lock_byte(slots, slot, F_UNLCK);
			return r;
		}
	}
	slot_release(slots, slot);
	return 0;
}

int slots_sweep(int slots, int (*sweep)(const struct slot_record *, void *, struct err *), void *arg, struct err *e)
{
	int n = n_records(slots), result = 0;

	if (n < 0)
		return err_sys(e, n, "reading the table of cells");
	for (int slot = 0; slot < n && slot < CELL_MAX_SLOTS; slot++) {
		if (!in_use(slots, slot))
			continue;

		int r = sweep_one(slots, slot, sweep, arg, e);
		if (r < 0)
			result = r;
	}
	return result;
}
