/*-------------------------------------------------------------------------
 *
 * diskfull.c
 *	  A disk that is full, or broken, whenever a test says so: a library that is
 *	  preloaded (LD_PRELOAD) into a test's server.
 *
 * The model:
 *	GS_DISKFULL_FLAG names a file.  As long as it is there, it holds one line,
 *
 *		full PATTERN		what makes a file longer fails with ENOSPC
 *		broken PATTERN		every write to a file fails with EIO
 *
 *	for files whose path contains PATTERN: "/base/" is all tables.  Nothing else
 *	is affected: not WAL, for which a full disk is PostgreSQL's own PANIC.
 *
 *-------------------------------------------------------------------------
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static char flag[PATH_MAX];

static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_pwritev)(int, const struct iovec *, int, off_t);
static int (*real_posix_fallocate)(int, off_t, off_t);
static int (*real_ftruncate)(int, off_t);

static void *
find(const char *name)
{
	void *function = dlsym(RTLD_NEXT, name);

	if (function == NULL)
		_exit(3);
	return function;
}

/* Other libraries' constructors may come before ours, and call us. */
__attribute__((constructor)) static void
start(void)
{
	const char *value;

	if (real_ftruncate != NULL)
		return;
	value = getenv("GS_DISKFULL_FLAG");
	/* a copy, for PostgreSQL writes its processes' titles over the environment */
	if (value != NULL)
		snprintf(flag, sizeof(flag), "%s", value);
	*(void **) &real_pwrite = find("pwrite");
	*(void **) &real_pwritev = find("pwritev");
	*(void **) &real_posix_fallocate = find("posix_fallocate");
	*(void **) &real_ftruncate = find("ftruncate");
}

/* The error of writing up to this end of a file, or 0. */
static int
disk_error(int fd, off_t end)
{
	char line[PATH_MAX];
	char link[64];
	char path[PATH_MAX];
	struct stat st;
	ssize_t len;
	int flag_fd;
	bool full;

	start();
	if (flag[0] == '\0' || (flag_fd = open(flag, O_RDONLY | O_CLOEXEC)) < 0)
		return 0;
	len = read(flag_fd, line, sizeof(line) - 1);
	close(flag_fd);
	if (len <= 0)
		return 0;
	line[len] = '\0';
	line[strcspn(line, "\n")] = '\0';
	full = strncmp(line, "full ", 5) == 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof(path) - 1);
	if (len <= 0)
		return 0;
	path[len] = '\0';
	if (strstr(path, strchr(line, ' ') ? strchr(line, ' ') + 1 : "/base/") == NULL)
		return 0;
	if (!full)
		return EIO;
	return fstat(fd, &st) == 0 && end > st.st_size ? ENOSPC : 0;
}

static bool
fails(int fd, off_t end)
{
	int error = disk_error(fd, end);

	if (error != 0)
		errno = error;
	return error != 0;
}

ssize_t
pwrite(int fd, const void *buf, size_t len, off_t offset)
{
	return fails(fd, offset + len) ? -1 : real_pwrite(fd, buf, len, offset);
}

ssize_t
pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
	off_t end = offset;

	for (int i = 0; i < count; i++)
		end += iov[i].iov_len;
	return fails(fd, end) ? -1 : real_pwritev(fd, iov, count, offset);
}

/* Returns the error, and leaves errno alone. */
int
posix_fallocate(int fd, off_t offset, off_t len)
{
	int error = disk_error(fd, offset + len);

	return error != 0 ? error : real_posix_fallocate(fd, offset, len);
}

int
ftruncate(int fd, off_t length)
{
	return fails(fd, length) ? -1 : real_ftruncate(fd, length);
}
