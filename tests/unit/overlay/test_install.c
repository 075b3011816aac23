/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Document, certificate and key are put in place together: whatever step the power is cut at, the next start finds all old or all
 * new. B-11.3-01
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "overlay/install.h"
#include "support/support_identity.h"

enum { STEPS_MAX = 64 };

struct fixture {
	struct support_overlay overlay;
	struct credential *old, *new;
	char directory[64], stem[80], document[96];
};

struct cut {
	int left; /* steps to go; -1: never */
	int steps;
};

static bool on_step(void *userdata, const char *what, const char *path) {
	struct cut *cut = userdata;

	assert_non_null(what);
	assert_true(path[0] == '/');
	cut->steps++;
	return cut->left < 0 || cut->left-- > 0;
}

static int setup(void **state) {
	struct fixture *f = calloc(1, sizeof(*f));
	struct id node_id = support_node_id(0x11);

	*state = f;
	if (support_overlay_new("example.org", &f->overlay) < 0)
		return -1;
	f->old = support_credential(&f->overlay, "site1@example.org", &node_id, 1);
	f->new = support_credential(&f->overlay, "site1@example.org", &node_id, 1);
	strcpy(f->directory, "/tmp/test_install_XXXXXX");
	if (!f->old || !f->new || !mkdtemp(f->directory))
		return -1;
	snprintf(f->stem, sizeof(f->stem), "%s/node", f->directory);
	snprintf(f->document, sizeof(f->document), "%s/overlay.xml", f->directory);
	return 0;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place) {
	(void)status, (void)type, (void)place;
	return remove(path);
}

static int teardown(void **state) {
	struct fixture *f = *state;

	nftw(f->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	credential_unref(f->old);
	credential_unref(f->new);
	support_overlay_release(&f->overlay);
	free(f);
	return 0;
}

static void clear(struct fixture *f) {
	nftw(f->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	assert_int_equal(mkdir(f->directory, 0700), 0);
}

static int put(struct fixture *f, const struct credential *credential, const char *document, struct cut *cut) {
	const struct install_probe probe = {cut, on_step};
	const struct install_credential place = {f->stem, f->document, cut ? &probe : NULL};
	char reason[INSTALL_REASON_SIZE] = "";

	int error = install_credential(&place, octets_of_string(document), 0644, credential, true, reason);
	assert_true((error == 0) == (reason[0] == 0));
	return error;
}

static int complete(struct fixture *f) {
	char reason[INSTALL_REASON_SIZE] = "";
	int error = install_credential_complete(&(struct install_credential){f->stem, f->document, NULL}, reason);

	assert_true((error >= 0) == (reason[0] == 0));
	return error;
}

static void read_text(const char *path, char *text, size_t size) {
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	size_t length = file ? fread(text, 1, size - 1, file) : 0;

	text[length] = 0;
}

/* What is there: that credential with that document, and nothing else in the directory. */
static void expect(struct fixture *f, const struct credential *credential, const char *document) {
	_cleanup_(credential_unrefp) struct credential *found = NULL;
	char certificate[96], key[96], text[64], reason[512];
	size_t count = 0;

	snprintf(certificate, sizeof(certificate), "%s.crt", f->stem);
	snprintf(key, sizeof(key), "%s.key", f->stem);
	assert_int_equal(credential_load(certificate, key, "example.org", ID_LENGTH_CHORD, &found, reason, sizeof(reason)), 0);
	assert_memory_equal(found->certificate->sha256, credential->certificate->sha256, 32);
	read_text(f->document, text, sizeof(text));
	assert_string_equal(text, document);
	DIR *directory = opendir(f->directory);
	assert_non_null(directory);
	for (struct dirent *entry; (entry = readdir(directory));)
		count += entry->d_name[0] != '.';
	closedir(directory);
	assert_int_equal(count, 3);
}

static bool nothing_there(struct fixture *f) {
	size_t count = 0;
	DIR *directory = opendir(f->directory);

	assert_non_null(directory);
	for (struct dirent *entry; (entry = readdir(directory));)
		count += entry->d_name[0] != '.';
	closedir(directory);
	return count == 0;
}

static void install_and_replace(void **state) {
	struct fixture *f = *state;
	struct stat status;
	char path[96];

	clear(f);
	assert_int_equal(put(f, f->old, "first", NULL), 0);
	expect(f, f->old, "first");
	snprintf(path, sizeof(path), "%s.key", f->stem);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	assert_int_equal(put(f, f->new, "second", NULL), 0);
	expect(f, f->new, "second");
	assert_int_equal(complete(f), 0);
	expect(f, f->new, "second");
}

/* At each step in turn, over an older set. */
static void cut_while_replacing(void **state) {
	struct fixture *f = *state;
	bool seen_old = false, seen_new = false;
	int step = 0;

	for (;; step++) {
		struct cut cut = {.left = step};
		clear(f);
		assert_int_equal(put(f, f->old, "first", NULL), 0);
		int error = put(f, f->new, "second", &cut);
		if (error == 0)
			break;
		assert_int_equal(error, -EINTR);
		assert_true(step < STEPS_MAX);
		if (complete(f) == 1) {
			seen_new = true;
			expect(f, f->new, "second");
		} else {
			assert_false(seen_new); /* once decided it stays decided */
			seen_old = true;
			expect(f, f->old, "first");
		}
		assert_int_equal(complete(f), 0);
		assert_int_equal(put(f, f->new, "third", NULL), 0); /* and the way is free again */
		expect(f, f->new, "third");
	}
	assert_true(seen_old && seen_new);
	assert_int_equal(step, 3 + 2 + 3 + 1); /* three staged, journal, decision, three placed, finish */
}

static void cut_the_first_time(void **state) {
	struct fixture *f = *state;

	for (int step = 0;; step++) {
		struct cut cut = {.left = step};
		clear(f);
		int error = put(f, f->new, "first", &cut);
		if (error == 0)
			break;
		assert_true(step < STEPS_MAX);
		if (complete(f) == 1)
			expect(f, f->new, "first");
		else
			assert_true(nothing_there(f));
	}
}

/* Cut again while completing, at every place: a file is either still staged or in its place. */
static void cut_while_completing(void **state) {
	struct fixture *f = *state;
	char from[128], to[128];
	static const char *const order[] = {"node.key", "node.crt", "overlay.xml"};

	for (size_t placed = 0; placed <= ARRAY_LENGTH(order); placed++) {
		struct cut cut = {.left = 5}; /* decided, nothing placed */
		clear(f);
		assert_int_equal(put(f, f->old, "first", NULL), 0);
		assert_int_equal(put(f, f->new, "second", &cut), -EINTR);
		for (size_t i = 0; i < placed; i++) {
			snprintf(from, sizeof(from), "%s/%s.new", f->directory, order[i]);
			snprintf(to, sizeof(to), "%s/%s", f->directory, order[i]);
			assert_int_equal(rename(from, to), 0);
		}
		assert_int_equal(complete(f), 1);
		expect(f, f->new, "second");
	}
}

static void write_text(const char *path, const char *text) {
	_cleanup_fclose_ FILE *file = fopen(path, "we");

	assert_non_null(file);
	fputs(text, file);
}

/* A journal that was tampered with or damaged changes nothing. */
static void refuse_bad_journals(void **state) {
	struct fixture *f = *state;
	static const char digest[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"; /* of nothing */
	char journal[96], text[1024], outside[128];
	static const char *const bad[] = {
		"",
		"ringgate-install 1\n",
		"ringgate-install 2\nend\n",
		"ringgate-install 1\nend\n",
		"end\n",
		"ringgate-install 1\nzz /tmp/x\nend\n",
	};

	clear(f);
	assert_int_equal(put(f, f->old, "first", NULL), 0);
	snprintf(journal, sizeof(journal), "%s.install", f->stem);
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		write_text(journal, bad[i]);
		assert_int_equal(complete(f), -EBADMSG);
		assert_int_equal(put(f, f->new, "second", NULL), -EBUSY);
	}
	snprintf(outside, sizeof(outside), "%s/elsewhere", f->directory);
	snprintf(text, sizeof(text), "%s.new", outside);
	write_text(text, "");
	snprintf(text, sizeof(text), "ringgate-install 1\n%s %s\nend\n", digest, outside);
	write_text(journal, text); /* whole, but of another place */
	assert_int_equal(complete(f), -EBADMSG);
	assert_int_equal(access(outside, F_OK), -1);
	snprintf(text, sizeof(text), "ringgate-install 1\n%s %s.key\n", digest, f->stem);
	write_text(journal, text); /* cut short */
	assert_int_equal(complete(f), -EBADMSG);
	snprintf(text, sizeof(text), "ringgate-install 1\n%s %s.key\nend\nmore\n", digest, f->stem);
	write_text(journal, text);
	assert_int_equal(complete(f), -EBADMSG);
	snprintf(text, sizeof(text), "ringgate-install 1\n%s %s.key\nend\n", digest, f->stem);
	write_text(journal, text); /* neither the old key nor a staged one is that */
	assert_int_equal(complete(f), -EBADMSG);
	assert_int_equal(unlink(journal), 0);
	snprintf(text, sizeof(text), "%s.new", outside);
	assert_int_equal(unlink(text), 0);
	expect(f, f->old, "first");
}

/* What cannot be written leaves everything as it was. */
static void refuse_places(void **state) {
	struct fixture *f = *state;
	char staged[128], reason[INSTALL_REASON_SIZE] = "";

	clear(f);
	assert_int_equal(put(f, f->old, "first", NULL), 0);
	snprintf(staged, sizeof(staged), "%s.new", f->document);
	assert_int_equal(mkdir(staged, 0700), 0); /* in the way of the last file */
	assert_true(put(f, f->new, "second", NULL) < 0);
	assert_int_equal(rmdir(staged), 0);
	expect(f, f->old, "first");
	const struct install_credential nowhere = {"/tmp/test_install_nowhere/node", NULL, NULL};
	assert_int_equal(install_credential(&nowhere, OCTETS_NONE, 0644, f->new, true, reason), -ENOENT);
	assert_non_null(strstr(reason, "/tmp/test_install_nowhere"));
	assert_int_equal(install_credential_complete(&nowhere, reason), 0);
}

/* A whole directory of users: the one that was decided is completed, leftovers of the undecided one go. */
static void complete_directory(void **state) {
	struct fixture *f = *state;
	struct cut decided = {.left = 5}, undecided = {.left = 2};
	struct install_probe probe = {&decided, on_step};
	char reason[INSTALL_REASON_SIZE] = "", alice[96], bob[96];

	clear(f);
	snprintf(alice, sizeof(alice), "%s/alice@example.org", f->directory);
	snprintf(bob, sizeof(bob), "%s/bob@example.org", f->directory);
	struct install_credential place = {alice, NULL, &probe};
	decided.left = 4; /* two staged, journal, decision */
	assert_int_equal(install_credential(&place, OCTETS_NONE, 0644, f->new, true, reason), -EINTR);
	probe.userdata = &undecided;
	place.stem = bob;
	assert_int_equal(install_credential(&place, OCTETS_NONE, 0644, f->new, true, reason), -EINTR);
	reason[0] = 0;
	assert_int_equal(install_directory_complete(f->directory, reason), 1);
	assert_string_equal(reason, "");
	strcpy(f->document, "/dev/null");
	for (size_t i = 0; i < 2; i++) {
		char path[128];
		snprintf(path, sizeof(path), "%s.%s", alice, i ? "key" : "crt");
		assert_int_equal(access(path, F_OK), 0);
		snprintf(path, sizeof(path), "%s.%s", bob, i ? "key.new" : "crt.new");
		assert_int_equal(access(path, F_OK), -1);
	}
	assert_int_equal(install_directory_complete("/tmp/test_install_nowhere", reason), 0);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(install_and_replace),	cmocka_unit_test(cut_while_replacing), cmocka_unit_test(cut_the_first_time),
		cmocka_unit_test(cut_while_completing), cmocka_unit_test(refuse_bad_journals), cmocka_unit_test(refuse_places),
		cmocka_unit_test(complete_directory),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
