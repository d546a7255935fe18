/* Part of snap_hold.c: files, devices, directories. */
#pragma once

static int file(const char *name, int flags)
{
	a = open(name, flags | O_CLOEXEC, 0600);
	return need(a >= 0);
}
static int hold_file_etc(void)
{
	return file("/etc/passwd", O_RDONLY);
}
static int hold_file_usr(void)
{
	return file("/usr/bin/env", O_RDONLY);
}
static int works_file(void)
{
	char c;

	return need(pread(a, &c, 1, 0) == 1);
}
static int hold_dir(void)
{
	return file("/usr", O_RDONLY | O_DIRECTORY);
}
static int hold_path(void)
{
	return file("/usr/bin/env", O_PATH);
}
static int hold_tmp_file(void)
{
	return file("/tmp/held", O_RDWR | O_CREAT) ?: need(write(a, "text", 4) == 4);
}
static int hold_tmp_append(void)
{
	return file("/tmp/held", O_WRONLY | O_CREAT | O_APPEND) ?: need(write(a, "text", 4) == 4);
}
static int hold_tmp_dir(void)
{
	return need(mkdir("/tmp/dir", 0700) == 0) ?: file("/tmp/dir", O_RDONLY | O_DIRECTORY);
}
static int hold_tmp_deleted(void)
{
	return hold_tmp_file() ?: need(unlink("/tmp/held") == 0);
}
static int hold_tmp_mapped(void)
{
	if (hold_tmp_file() != 0 || ftruncate(a, 4096) < 0)
		return fail();
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, a, 0);
	return need(map != MAP_FAILED && close(a) == 0);
}
static int hold_deleted_mapped(void)
{
	return hold_tmp_mapped() ?: need(unlink("/tmp/held") == 0);
}
static int hold_tmp_private(void)
{
	if (hold_tmp_file() != 0 || ftruncate(a, 4096) < 0)
		return fail();
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, a, 0);
	return need(map != MAP_FAILED && close(a) == 0);
}
static int hold_tmpfile(void)
{
	return file("/tmp", O_TMPFILE | O_RDWR) ?: need(write(a, "text", 4) == 4);
}
static int hold_fifo(void)
{
	return need(mkfifo("/tmp/fifo", 0600) == 0) ?: file("/tmp/fifo", O_RDWR) ?: need((b = a) >= 0);
}
static int hold_null(void)
{
	return file("/dev/null", O_RDWR);
}
static int hold_urandom(void)
{
	return file("/dev/urandom", O_RDONLY);
}
static int works_urandom(void)
{
	char c;

	return need(read(a, &c, 1) == 1);
}
static int hold_device_mapped(void)
{
	if (file("/dev/zero", O_RDWR) != 0)
		return fail();
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, a, 0);
	if (map == MAP_FAILED)
		return fail();
	memcpy(map, "text", 4);
	return 0;
}
static int hold_proc(void)
{
	return file("/proc/self/stat", O_RDONLY);
}
static int hold_proc_root(void)
{
	return file("/proc", O_RDONLY | O_DIRECTORY);
}
static int hold_proc_meminfo(void)
{
	return file("/proc/meminfo", O_RDONLY);
}
static int hold_ns(void)
{
	return file("/proc/self/ns/net", O_RDONLY);
}
static int hold_cwd_tmp(void)
{
	return need(mkdir("/tmp/dir", 0700) == 0 && chdir("/tmp/dir") == 0);
}
static int hold_cwd_deleted(void)
{
	return hold_cwd_tmp() ?: need(rmdir("/tmp/dir") == 0);
}
