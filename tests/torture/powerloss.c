/*-------------------------------------------------------------------------
 *
 * powerloss.c
 *	  What a data directory would be after the power has failed: a library that
 *	  is preloaded (LD_PRELOAD) into a test's server.
 *
 * The model:
 *	1. Killing processes loses nothing that was written: the kernel has it.  A
 *	   failure of the power loses what was not synced.  So this library keeps,
 *	   in a directory of its own (the store), what is on the imagined disk:
 *	   GS_POWERLOSS_DATA is the data directory, GS_POWERLOSS_STORE the store.
 *
 *		tree/path	a name that survives: a hard link to ino/N
 *		ino/N		what survives of the file with inode number N
 *		dirty/N		which of its blocks were written since (struct Dirty)
 *
 *	2. Each write marks its blocks, whoever writes.  fsync() and fdatasync()
 *	   copy the file's marked blocks to ino/N, whoever has written them, and
 *	   give it the file's length.  The disk itself is not asked to sync.
 *	3. A new file's name survives from the file's first sync, as on ext4 and
 *	   XFS.  Renaming, removing and linking survive from the next sync of the
 *	   directory.  Making and removing directories survives at once.
 *	4. sync_file_range() makes nothing durable.  PowerLoss.pm makes a data
 *	   directory of the store, and puts some of the blocks in that were not
 *	   synced, also halves of them, for a disk may have written them.
 *	5. The file "delay" in the store, if it is there, has a number of
 *	   microseconds: the longest time that a sync of WAL takes (chance decides),
 *	   so that there are moments at which others could see what is not durable.
 *
 * Not modelled: tablespaces and a WAL directory outside the data directory
 * (taken as durable), O_DSYNC (refused: the server must not have wal_sync_method
 * open_datasync or open_sync), writing through stdio to a file that has been
 * synced, through memory maps, or with io_uring.
 *
 *-------------------------------------------------------------------------
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* PowerLoss.pm knows these too. */
#define BLOCK	   8192
#define WORDS	   2048 /* of 64 blocks: a file of 1 GB, more PostgreSQL does not have */
#define DIRTY_SIZE sizeof(Dirty)

#define MAPS 256 /* files that a process remembers */

typedef struct Dirty
{
	_Atomic uint64_t gone;		   /* the file has been removed: N may be another's now */
	_Atomic uint64_t dirty[WORDS]; /* written since the last sync */
	_Atomic uint64_t copying[WORDS]; /* being synced; left by who was killed at it */
} Dirty;

typedef struct Map
{
	ino_t ino;
	Dirty *dirty;
} Map;

static char data[PATH_MAX];
static size_t data_len = 0;
static dev_t data_dev;
static char store[PATH_MAX];
static Map maps[MAPS];

static int (*real_open)(const char *, int, ...);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_pwritev)(int, const struct iovec *, int, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_syncfs)(int);
static int (*real_rename)(const char *, const char *);
static int (*real_unlink)(const char *);
static int (*real_mkdir)(const char *, mode_t);
static int (*real_rmdir)(const char *);

static _Noreturn void
give_up(const char *what, const char *path)
{
	char line[PATH_MAX + 200];
	int n = snprintf(line, sizeof(line), "powerloss: %s \"%s\": %s\n", what, path,
					 strerror(errno));

	if (real_write(STDERR_FILENO, line, n) < 0)
		_exit(3);
	abort(); /* a test that counts on us must not go on */
}

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
	struct stat st;

	if (real_rmdir != NULL)
		return;
	*(void **) &real_open = find("open");
	*(void **) &real_write = find("write");
	*(void **) &real_pwrite = find("pwrite");
	*(void **) &real_pwritev = find("pwritev");
	*(void **) &real_ftruncate = find("ftruncate");
	*(void **) &real_fsync = find("fsync");
	*(void **) &real_fdatasync = find("fdatasync");
	*(void **) &real_syncfs = find("syncfs");
	*(void **) &real_rename = find("rename");
	*(void **) &real_unlink = find("unlink");
	*(void **) &real_mkdir = find("mkdir");
	*(void **) &real_rmdir = find("rmdir");

	value = getenv("GS_POWERLOSS_STORE");
	if (value == NULL || strlen(value) >= PATH_MAX / 2)
		return;
	snprintf(store, sizeof(store), "%s", value);
	value = getenv("GS_POWERLOSS_DATA");
	if (value == NULL || realpath(value, data) == NULL || stat(data, &st) != 0)
		return;
	data_dev = st.st_dev;
	data_len = strlen(data);
	srand48(getpid());
}

/* ----------------------------------------------------------------
 *		Names
 * ----------------------------------------------------------------
 */

/* The part of a path below the data directory, or NULL for what is elsewhere. */
static const char *
below_data(const char *path)
{
	static char cwd[PATH_MAX];

	if (data_len == 0)
		return NULL;
	if (path[0] != '/')
	{
		if (getcwd(cwd, sizeof(cwd)) == NULL || strcmp(cwd, data) != 0)
			return NULL;
		return path;
	}
	if (strncmp(path, data, data_len) != 0 || path[data_len] != '/')
		return NULL;
	return path + data_len + 1;
}

/* The same for an open file or directory; "" is the data directory itself. */
static const char *
name_of(int fd)
{
	static char path[PATH_MAX];
	char link[64];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof(path) - 1);
	if (len < 0)
		return NULL;
	path[len] = '\0';
	if (strcmp(path, data) == 0)
		return "";
	if (len > 10 && strcmp(path + len - 10, " (deleted)") == 0)
		return NULL;
	return below_data(path);
}

static char *
in_store(char *buf, const char *kind, const char *name)
{
	if (snprintf(buf, PATH_MAX, "%s/%s/%s", store, kind, name) >= PATH_MAX)
		give_up("too long", name);
	return buf;
}

static char *
of_inode(char *buf, const char *kind, ino_t ino)
{
	char number[32];

	snprintf(number, sizeof(number), "%llu", (unsigned long long) ino);
	return in_store(buf, kind, number);
}

/* Let a name that survives lead to an inode's content. */
static void
link_name(const char *name, ino_t ino)
{
	char from[PATH_MAX];
	char to[PATH_MAX];
	char temp[PATH_MAX + 32];

	of_inode(from, "ino", ino);
	in_store(to, "tree", name);
	snprintf(temp, sizeof(temp), "%s/new.%d", store, (int) getpid());
	real_unlink(temp);
	if (link(from, temp) != 0)
	{
		if (errno == ENOENT)
			return; /* has just been removed */
		give_up("link", temp);
	}
	if (real_rename(temp, to) != 0 && errno != ENOENT)
		give_up("rename", to);
	real_unlink(temp); /* two names of one file: rename() does nothing */
}

/* ----------------------------------------------------------------
 *		Blocks
 * ----------------------------------------------------------------
 */

static Dirty *
map_inode(ino_t ino, bool make)
{
	Map *map = &maps[ino % MAPS];
	char path[PATH_MAX];
	void *dirty;
	int fd;

	if (map->dirty != NULL)
		munmap(map->dirty, DIRTY_SIZE);
	map->dirty = NULL;
	fd = real_open(of_inode(path, "dirty", ino),
				   O_RDWR | O_CLOEXEC | (make ? O_CREAT : 0), 0600);
	if (fd < 0 && !make && errno == ENOENT)
		return NULL;
	if (fd < 0 || real_ftruncate(fd, DIRTY_SIZE) != 0)
		give_up("open", path);
	dirty = mmap(NULL, DIRTY_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (dirty == MAP_FAILED)
		give_up("map", path);
	map->ino = ino;
	map->dirty = dirty;
	return dirty;
}

/*
 * The marks of an open file, or NULL if it is none of the data directory's;
 * unless they are to be made, also if it has never been written.
 */
static Dirty *
dirty_of(int fd, struct stat *st, bool make)
{
	Map *map;

	if (data_len == 0 || fstat(fd, st) != 0 || !S_ISREG(st->st_mode) ||
		st->st_dev != data_dev)
		return NULL;
	map = &maps[st->st_ino % MAPS];
	if (map->dirty != NULL && map->ino == st->st_ino && !map->dirty->gone)
		return map->dirty;
	if (name_of(fd) == NULL)
		return NULL;
	return map_inode(st->st_ino, make);
}

static void
mark(Dirty *dirty, off_t from, off_t to)
{
	if (to > (off_t) WORDS * 64 * BLOCK)
		give_up("file too large", "");
	for (off_t block = from / BLOCK; block * BLOCK < to; block++)
		atomic_fetch_or(&dirty->dirty[block / 64], UINT64_C(1) << (block % 64));
}

static void
copy_block(int from, int to, off_t block)
{
	char buf[BLOCK];
	ssize_t len = pread(from, buf, BLOCK, block * BLOCK);

	if (len < 0 || (len > 0 && real_pwrite(to, buf, len, block * BLOCK) != len))
		give_up("copy", "a block");
}

static void
take_time(void)
{
	char path[PATH_MAX];
	char value[32];
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "%.*s/delay", PATH_MAX / 2, store);
	fd = real_open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	len = read(fd, value, sizeof(value) - 1);
	close(fd);
	value[len < 0 ? 0 : len] = '\0';
	usleep(drand48() * strtoul(value, NULL, 10));
}

/* The file's content survives as it is now, and a new file's name. */
static void
sync_file(int fd, Dirty *dirty, const struct stat *was)
{
	char path[PATH_MAX];
	struct stat st;
	struct stat kept;
	const char *name = name_of(fd);
	bool is_new;
	int to;

	if (name == NULL)
		return; /* removed: nobody will miss it */
	if (strncmp(name, "pg_wal/", 7) == 0)
		take_time();
	is_new = access(of_inode(path, "ino", was->st_ino), F_OK) != 0;
	to = real_open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (to < 0 || flock(to, LOCK_EX) != 0 || fstat(fd, &st) != 0)
		give_up("open", path);
	for (off_t word = 0; word < WORDS && word * 64 * BLOCK < st.st_size; word++)
	{
		uint64_t bits = is_new ? UINT64_MAX : dirty->dirty[word] | dirty->copying[word];

		if (bits == 0)
			continue;
		/* whoever comes after us, if we are killed, finds what we had begun */
		atomic_fetch_or(&dirty->copying[word], bits);
		atomic_fetch_and(&dirty->dirty[word], ~bits);
		for (int bit = 0; bit < 64; bit++)
			if (bits & (UINT64_C(1) << bit))
				copy_block(fd, to, word * 64 + bit);
		dirty->copying[word] = 0;
	}
	if (fstat(to, &kept) != 0 ||
		(kept.st_size != st.st_size && real_ftruncate(to, st.st_size) != 0))
		give_up("truncate", path);
	if (kept.st_nlink == 1)
		link_name(name, was->st_ino);
	close(to);
}

/* The file goes, by being removed or replaced, unless it has another name. */
static void
forget(const char *path)
{
	char of[PATH_MAX];
	struct stat st;

	if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1 ||
		st.st_dev != data_dev)
		return;
	map_inode(st.st_ino, true)->gone = 1;
	real_unlink(of_inode(of, "dirty", st.st_ino));
	real_unlink(of_inode(of, "ino", st.st_ino)); /* names that survive still have it */
}

/* ----------------------------------------------------------------
 *		Directories
 * ----------------------------------------------------------------
 */

static void
remove_tree(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	char below[PATH_MAX];

	while (dir != NULL && (entry = readdir(dir)) != NULL)
	{
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
			snprintf(below, sizeof(below), "%s/%s", path, entry->d_name) >= PATH_MAX)
			continue;
		if (real_unlink(below) != 0)
			remove_tree(below);
	}
	if (dir != NULL)
		closedir(dir);
	real_rmdir(path);
}

/* One name of a directory as it is now. */
static void
sync_name(int fd, const char *dir, const char *entry)
{
	char name[PATH_MAX];
	char path[PATH_MAX];
	char target[PATH_MAX];
	struct stat st;
	struct stat made_st;
	struct stat kept;
	ssize_t len;
	int made;

	if (snprintf(name, sizeof(name), "%s%s%s", dir, dir[0] ? "/" : "", entry) >= PATH_MAX)
		give_up("too long", entry);
	if (fstatat(fd, entry, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return;
	if (S_ISDIR(st.st_mode))
		real_mkdir(in_store(path, "tree", name), 0700);
	else if (S_ISLNK(st.st_mode))
	{
		len = readlinkat(fd, entry, target, sizeof(target) - 1);
		if (len < 0)
			return;
		target[len] = '\0';
		if (symlink(target, in_store(path, "tree", name)) != 0 && errno != EEXIST)
			give_up("symlink", path);
	}
	else if (S_ISREG(st.st_mode))
	{
		/* never synced: its name survives and nothing of what is in it */
		if (lstat(of_inode(path, "ino", st.st_ino), &made_st) != 0)
		{
			made = real_open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
			if (made < 0 || fstat(made, &made_st) != 0)
				give_up("open", path);
			close(made);
		}
		if (lstat(in_store(path, "tree", name), &kept) != 0 ||
			kept.st_ino != made_st.st_ino)
			link_name(name, st.st_ino);
	}
}

static void
sync_directory(int fd)
{
	char path[PATH_MAX];
	char below[PATH_MAX];
	char dir_name[PATH_MAX];
	const char *name = name_of(fd);
	struct dirent *entry;
	struct stat st;
	DIR *dir;
	int lock;

	if (name == NULL)
		return;
	snprintf(dir_name, sizeof(dir_name), "%s", name);
	in_store(path, "tree", dir_name);
	real_mkdir(path, 0700);
	lock = real_open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (lock < 0 || flock(lock, LOCK_EX) != 0)
		give_up("open", path);
	dir = fdopendir(openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	while (dir != NULL && (entry = readdir(dir)) != NULL)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			sync_name(fd, dir_name, entry->d_name);
	if (dir != NULL)
		closedir(dir);
	dir = opendir(path);
	while (dir != NULL && (entry = readdir(dir)) != NULL)
	{
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
			fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 ||
			snprintf(below, sizeof(below), "%s/%s", path, entry->d_name) >= PATH_MAX)
			continue;
		if (real_unlink(below) != 0)
			remove_tree(below);
	}
	if (dir != NULL)
		closedir(dir);
	close(lock);
}

/* ----------------------------------------------------------------
 *		What the server calls
 * ----------------------------------------------------------------
 */

static int
open_it(const char *path, int flags, mode_t mode)
{
	struct stat st;
	struct stat old;
	Dirty *dirty;
	off_t length = 0;
	int fd;

	if (data_len > 0 && (flags & O_DSYNC) && below_data(path))
		give_up("O_DSYNC is not modelled", path);
	if (data_len > 0 && (flags & O_TRUNC) && stat(path, &old) == 0)
		length = old.st_size;
	fd = real_open(path, flags, mode);
	if (fd >= 0 && length > 0 && (dirty = dirty_of(fd, &st, true)) != NULL)
		mark(dirty, 0, length);
	return fd;
}

int
open(const char *path, int flags, ...)
{
	va_list args;
	mode_t mode = 0;

	start();
	if (flags & (O_CREAT | __O_TMPFILE))
	{
		va_start(args, flags);
		mode = va_arg(args, mode_t);
		va_end(args);
	}
	return open_it(path, flags, mode);
}

ssize_t
write(int fd, const void *buf, size_t len)
{
	struct stat st;
	Dirty *dirty;
	ssize_t done;
	off_t end;

	start();
	dirty = dirty_of(fd, &st, true);
	if (dirty == NULL)
		return real_write(fd, buf, len);
	end = lseek(fd, 0, SEEK_CUR);
	mark(dirty, end, end + len);
	done = real_write(fd, buf, len);
	if (done > 0)
	{
		end = lseek(fd, 0, SEEK_CUR);
		mark(dirty, end - done, end);
	}
	return done;
}

/* Marked before, in case we are killed, and after, in case somebody syncs meanwhile. */
ssize_t
pwrite(int fd, const void *buf, size_t len, off_t offset)
{
	struct stat st;
	Dirty *dirty;
	ssize_t done;

	start();
	dirty = dirty_of(fd, &st, true);
	if (dirty != NULL)
		mark(dirty, offset, offset + len);
	done = real_pwrite(fd, buf, len, offset);
	if (dirty != NULL)
		mark(dirty, offset, offset + len);
	return done;
}

ssize_t
pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
	struct stat st;
	Dirty *dirty;
	ssize_t done;
	size_t len = 0;

	start();
	dirty = dirty_of(fd, &st, true);
	for (int i = 0; i < count; i++)
		len += iov[i].iov_len;
	if (dirty != NULL)
		mark(dirty, offset, offset + len);
	done = real_pwritev(fd, iov, count, offset);
	if (dirty != NULL)
		mark(dirty, offset, offset + len);
	return done;
}

/* What is cut off must not come back as it was when the file grows again. */
int
ftruncate(int fd, off_t length)
{
	struct stat st;
	Dirty *dirty;
	int result;

	start();
	dirty = dirty_of(fd, &st, true);
	if (dirty != NULL)
		mark(dirty, length, st.st_size);
	result = real_ftruncate(fd, length);
	if (dirty != NULL)
		mark(dirty, length, st.st_size);
	return result;
}

int
truncate(const char *path, off_t length)
{
	int fd;
	int result;
	int error;

	start();
	fd = real_open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -1;
	result = ftruncate(fd, length);
	error = errno;
	close(fd);
	errno = error;
	return result;
}

static int
sync_it(int fd, int (*real)(int))
{
	char path[PATH_MAX];
	struct stat st;
	Dirty *dirty;

	if (data_len == 0)
		return real(fd);
	dirty = dirty_of(fd, &st, false);
	if (dirty != NULL)
		sync_file(fd, dirty, &st);
	else if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_dev == data_dev &&
			 name_of(fd) != NULL)
	{
		/* not written as far as we know: on the disk, or a file that we do not know */
		if (access(of_inode(path, "ino", st.st_ino), F_OK) != 0 &&
			(dirty = dirty_of(fd, &st, true)) != NULL)
			sync_file(fd, dirty, &st);
	}
	else if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) && st.st_dev == data_dev)
		sync_directory(fd);
	else
		return real(fd);
	return 0;
}

int
fsync(int fd)
{
	start();
	return sync_it(fd, real_fsync);
}

int
fdatasync(int fd)
{
	start();
	return sync_it(fd, real_fdatasync);
}

int
syncfs(int fd)
{
	start();
	if (data_len > 0)
		give_up("not modelled", "syncfs");
	return real_syncfs(fd);
}

int
rename(const char *from, const char *to)
{
	char kept_from[PATH_MAX];
	char kept_to[PATH_MAX];
	const char *name;
	struct stat st;
	struct stat old;
	bool is_dir;
	int result;

	start();
	if (below_data(from) == NULL || below_data(to) == NULL || lstat(from, &st) != 0)
		return real_rename(from, to);
	is_dir = S_ISDIR(st.st_mode);
	if (lstat(to, &old) == 0 && old.st_ino != st.st_ino)
		forget(to);
	result = real_rename(from, to);
	if (result == 0 && is_dir)
	{
		name = below_data(from);
		in_store(kept_from, "tree", name);
		name = below_data(to);
		in_store(kept_to, "tree", name);
		remove_tree(kept_to);
		real_rename(kept_from, kept_to);
	}
	return result;
}

int
unlink(const char *path)
{
	start();
	if (below_data(path) != NULL)
		forget(path);
	return real_unlink(path);
}

int
mkdir(const char *path, mode_t mode)
{
	const char *name;
	char kept[PATH_MAX];
	int result;

	start();
	result = real_mkdir(path, mode);
	name = below_data(path);
	if (result == 0 && name != NULL)
		real_mkdir(in_store(kept, "tree", name), 0700);
	return result;
}

int
rmdir(const char *path)
{
	const char *name;
	char kept[PATH_MAX];
	int result;

	start();
	result = real_rmdir(path);
	name = below_data(path);
	if (result == 0 && name != NULL)
		remove_tree(in_store(kept, "tree", name));
	return result;
}
