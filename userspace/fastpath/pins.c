/* SPDX-License-Identifier: BSD-2-Clause */
#include "fastpath/pins.h"

#include "base/log.h"
#include "base/octets.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/bpf.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

enum { PINS_NAME_MAX = 48 };

struct pins {
	char *directory;
	int lock; /* the directory */
};

__attribute__((format(printf, 3, 4))) static int refuse(char *reason, int error, const char *format, ...) {
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, PINS_REASON_SIZE, format, arguments);
	va_end(arguments);
	return error;
}

/* ---- the directory ---- */

/* The last part need not exist. */
static bool in_bpf_file_system(const char *directory) {
	char parent[PATH_MAX];
	struct statfs status;

	if (statfs(directory, &status) == 0)
		return status.f_type == BPF_FS_MAGIC;
	if (snprintf(parent, sizeof(parent), "%s", directory) >= (int)sizeof(parent))
		return false;
	char *end = strrchr(parent, '/');
	if (!end || end == parent)
		return false;
	*end = 0;
	return statfs(parent, &status) == 0 && status.f_type == BPF_FS_MAGIC;
}

static int take(const char *directory, struct pins **ret, char *reason) {
	struct stat status;

	struct pins *pins = calloc(1, sizeof(*pins));
	if (!pins)
		return refuse(reason, -ENOMEM, "out of memory");
	pins->directory = strdup(directory);
	pins->lock = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	int error = 0;
	if (!pins->directory || pins->lock < 0 || fstat(pins->lock, &status) < 0)
		error = refuse(reason, pins->directory ? -errno : -ENOMEM, "%.150s cannot be opened: %s", directory,
			       strerror(errno));
	else if (status.st_uid != geteuid() || status.st_mode & (S_IWGRP | S_IWOTH))
		error = refuse(reason, -EPERM, "%.150s belongs to somebody else, or others may write there; remove it", directory);
	else if (flock(pins->lock, LOCK_EX | LOCK_NB) < 0)
		error = refuse(reason, errno == EWOULDBLOCK ? -EBUSY : -errno,
			       "another daemon uses %.150s; each one needs a directory of its own", directory);
	if (error < 0) {
		pins_close(pins);
		return error;
	}
	*ret = pins;
	return 0;
}

int pins_open(const char *directory, struct pins **ret, char reason[static PINS_REASON_SIZE]) {
	if (!in_bpf_file_system(directory))
		return refuse(reason, -EOPNOTSUPP,
			      "%.150s is not in a bpf file system; mount one with: mount -t bpf bpf /sys/fs/bpf", directory);
	if (mkdir(directory, 0700) < 0 && errno != EEXIST)
		return refuse(reason, -errno, "%.150s cannot be made: %s", directory, strerror(errno));
	return take(directory, ret, reason);
}

struct pins *pins_close(struct pins *pins) {
	if (!pins)
		return NULL;
	if (pins->lock >= 0)
		close(pins->lock);
	free(pins->directory);
	free(pins);
	return NULL;
}

const char *pins_directory(const struct pins *pins) {
	return pins->directory;
}

static const char *path_of(const struct pins *pins, const char *name, char path[static PATH_MAX]) {
	snprintf(path, PATH_MAX, "%s/%s", pins->directory, name);
	return path;
}

/* ---- maps and programs ---- */

static int get(void *userdata, const char *name) {
	char path[PATH_MAX];
	int fd = bpf_obj_get(path_of(userdata, name, path));

	return fd < 0 ? -errno : fd;
}

static bool same_shape(int fd, const struct bpf_map *map) {
	struct bpf_map_info info = {0};
	uint32_t size = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &size) == 0 && info.type == bpf_map__type(map) &&
	       info.key_size == bpf_map__key_size(map) && info.value_size == bpf_map__value_size(map) &&
	       info.max_entries == bpf_map__max_entries(map);
}

/* Sections of constants and the like are libbpf's own. */
static bool is_ours(const struct bpf_map *map) {
	return !strchr(bpf_map__name(map), '.');
}

/* What is wrong with a pinned map, NULL: nothing. */
static const char *examine(struct pins *pins, const struct bpf_map *map, const char *scratch) {
	_cleanup_close_ int fd = get(pins, bpf_map__name(map));
	char path[PATH_MAX];

	if (fd >= 0 && same_shape(fd, map))
		return NULL;
	if (strcmp(bpf_map__name(map), scratch) == 0) {
		unlink(path_of(pins, scratch, path));
		return NULL;
	}
	return fd < 0 ? "parts of it are missing" : "its tables have another size";
}

static int reuse(struct pins *pins, struct bpf_map *map) {
	_cleanup_close_ int fd = get(pins, bpf_map__name(map));

	if (fd < 0) /* a scratch map */
		return fd == -ENOENT ? 0 : fd;
	return bpf_map__reuse_fd(map, fd);
}

static bool is_empty(const struct pins *pins) {
	/* take() left one, or failed. NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
	DIR *directory = opendir(pins->directory);
	const struct dirent *entry;
	bool empty = true;

	while (directory && (entry = readdir(directory)))
		empty = empty && entry->d_name[0] == '.';
	if (directory)
		closedir(directory);
	return empty;
}

int pins_adopt(struct pins *pins, struct bpf_object *object, const char *scratch, bool (*fits)(pins_map map, void *userdata),
	       bool *ret_adopted) {
	const char *why = NULL;
	struct bpf_map *map;
	int error = 0;

	*ret_adopted = false;
	if (is_empty(pins))
		return 0;
	bpf_object__for_each_map(map, object) if (is_ours(map) && !why) why = examine(pins, map, scratch);
	if (!why && !fits(get, pins))
		why = "it has another layout, or was not finished";
	if (why) {
		log_notice("What a former daemon left in %s is removed, and links start anew: %s.", pins->directory, why);
		pins_clear(pins);
		return 0;
	}
	bpf_object__for_each_map(map, object) if (is_ours(map) && error == 0) error = reuse(pins, map);
	*ret_adopted = error == 0;
	return error;
}

static int keep_program(struct pins *pins, struct bpf_program *program) {
	char path[PATH_MAX];

	unlink(path_of(pins, bpf_program__name(program), path));
	return bpf_obj_pin(bpf_program__fd(program), path) < 0 ? -errno : 0;
}

int pins_keep(struct pins *pins, struct bpf_object *object, char reason[static PINS_REASON_SIZE]) {
	struct bpf_program *program;
	struct bpf_map *map;
	char path[PATH_MAX];

	bpf_object__for_each_map(map, object) if (is_ours(map) &&
						  bpf_obj_pin(bpf_map__fd(map), path_of(pins, bpf_map__name(map), path)) < 0 &&
						  errno != EEXIST) return refuse(reason, -errno, "%.150s cannot be pinned: %s",
										 path, strerror(errno));
	bpf_object__for_each_program(program, object) {
		int error = keep_program(pins, program);
		if (error < 0)
			return refuse(reason, error, "the program cannot be pinned in %.150s: %s", pins->directory,
				      strerror(-error));
	}
	return 0;
}

/* ---- attachments ---- */

static const char *link_name(unsigned ifindex, char name[static PINS_NAME_MAX]) {
	snprintf(name, PINS_NAME_MAX, "link-%u", ifindex);
	return name;
}

int pins_link(struct pins *pins, unsigned ifindex) {
	struct bpf_link_info info = {0};
	uint32_t size = sizeof(info);
	char name[PINS_NAME_MAX];
	int link = get(pins, link_name(ifindex, name));

	if (link < 0)
		return link;
	if (bpf_obj_get_info_by_fd(link, &info, &size) == 0 && info.type == BPF_LINK_TYPE_XDP && info.xdp.ifindex == ifindex)
		return link;
	close(link);
	pins_link_remove(pins, ifindex);
	return -ESTALE;
}

int pins_link_keep(struct pins *pins, unsigned ifindex, int link) {
	char name[PINS_NAME_MAX], path[PATH_MAX];

	path_of(pins, link_name(ifindex, name), path);
	unlink(path);
	return bpf_obj_pin(link, path) < 0 ? -errno : 0;
}

void pins_link_remove(struct pins *pins, unsigned ifindex) {
	char name[PINS_NAME_MAX], path[PATH_MAX];

	unlink(path_of(pins, link_name(ifindex, name), path));
}

/* ---- the end ---- */

/* The memory of a map may be given to others as it is. */
static void wipe(struct pins *pins, const char *name) {
	_cleanup_close_ int fd = get(pins, name);
	struct bpf_map_info info = {0};
	uint32_t size = sizeof(info);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size) < 0 || !(info.map_flags & BPF_F_MMAPABLE))
		return;
	size_t page = (size_t)sysconf(_SC_PAGESIZE), octets = ((size_t)info.value_size + 7) / 8 * 8 * info.max_entries;
	octets = (octets + page - 1) / page * page;
	void *memory = mmap(NULL, octets, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return;
	octets_wipe(memory, octets);
	munmap(memory, octets);
}

/* Removes the names that begin with `prefix`. Attachments end when the last reference goes, which is this one. */
static void remove_names(struct pins *pins, const char *prefix) {
	/* take() left one, or failed. NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
	DIR *directory = opendir(pins->directory);
	const struct dirent *entry;
	char path[PATH_MAX];

	while (directory && (entry = readdir(directory)))
		if (entry->d_name[0] != '.' && strncmp(entry->d_name, prefix, strlen(prefix)) == 0)
			unlink(path_of(pins, entry->d_name, path));
	if (directory)
		closedir(directory);
}

void pins_clear(struct pins *pins) {
	remove_names(pins, "link-");
	wipe(pins, "slots");
	wipe(pins, "pads");
	remove_names(pins, "");
}

int pins_remove(const char *directory, char reason[static PINS_REASON_SIZE]) {
	_cleanup_(pins_closep) struct pins *pins = NULL;
	struct stat status;

	if (lstat(directory, &status) < 0)
		return refuse(reason, -errno, "%.150s: %s", directory, strerror(errno));
	if (!in_bpf_file_system(directory))
		return refuse(reason, -EOPNOTSUPP, "%.150s is not in a bpf file system", directory);
	int error = take(directory, &pins, reason);
	if (error != 0)
		return error;
	pins_clear(pins);
	if (rmdir(directory) < 0)
		return refuse(reason, -errno, "%.150s cannot be removed: %s", directory, strerror(errno));
	return 0;
}
