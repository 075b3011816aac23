/* SPDX-License-Identifier: BSD-2-Clause */
#include "sip/dns.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/table.h"

/* The functions that replace those of Debian 12 came only later. */
#define CARES_NO_DEPRECATED
#include <ares.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <utlist.h>

#define RESOLV_CONF "/etc/resolv.conf"

enum {
	SOCKETS = 64,	   /* of c-ares: two for each name server */
	ATTEMPT_MS = 1500, /* until a question is repeated, or put to the next name server */
	ATTEMPTS = 3,	   /* for each name server */
	CHECK_SECONDS = 5, /* between two looks at resolv.conf */
	KEY_SIZE = DNS_NAME_SIZE + 8,
};

struct dns_question {
	struct entry *entry;
	dns_done done;
	void *userdata;
	struct dns_question *prev, *next;
};

/* One name and type: being asked, known, or both while an answer is being handed out. */
struct entry {
	struct dns *dns;
	char key[KEY_SIZE];	   /* type, blank, name */
	struct dns_answer *answer; /* owned; NULL: not known yet */
	uint64_t expires_us;
	struct query *query; /* under way */
	struct dns_question *waiting;
	bool delivering;
	struct timer timer; /* gives up, or hands out */
	struct entry *prev, *next;
	UT_hash_handle hh;
};

/* What c-ares answers; outlives the entry when that has given up. */
struct query {
	struct dns *dns;
	struct entry *entry; /* NULL: nobody cares any more */
	char name[DNS_NAME_SIZE];
	enum dns_type type;
};

struct dns {
	struct dns_settings settings;
	char *servers;
	ares_channel channel;
	bool library, open, closing;
	struct {
		int fd;
		unsigned events;
	} sockets[SOCKETS];
	size_t socket_count;
	struct timer timer;	 /* repetitions of c-ares */
	struct timespec read_of; /* resolv.conf as it was read */
	uint64_t checked_us;
	struct entry *entries; /* by key */
	struct entry *oldest;  /* list in the order in which they were asked for */
	size_t under_way, waiting;
	struct dns_figures figures;
};

static const struct dns_answer no_answer = {.error = -EAGAIN};

/* --- sockets --- */

static void on_socket(void *userdata, ares_socket_t fd, int readable, int writable) {
	struct dns *dns = userdata;
	unsigned events = (readable ? EPOLLIN : 0u) | (writable ? EPOLLOUT : 0u);
	size_t i = 0;

	while (i < dns->socket_count && dns->sockets[i].fd != fd)
		i++;
	if (i == SOCKETS)
		return; /* not heard: the question is repeated to another name server or fails in time */
	if (i == dns->socket_count && events == 0)
		return;
	dns->sockets[i].fd = fd;
	dns->sockets[i].events = events;
	if (i == dns->socket_count)
		dns->socket_count++;
	if (events == 0)
		dns->sockets[i] = dns->sockets[--dns->socket_count];
	dns->settings.watch(dns->settings.userdata, fd, events);
}

void dns_watch_again(struct dns *dns) {
	for (size_t i = 0; i < dns->socket_count; i++)
		dns->settings.watch(dns->settings.userdata, dns->sockets[i].fd, dns->sockets[i].events);
}

/* When c-ares wants to be called although nothing has come. */
static void arm(struct dns *dns) {
	struct timeval wait;

	if (dns->under_way == 0 || !dns->open || !ares_timeout(dns->channel, NULL, &wait)) {
		timer_disarm(dns->settings.runtime, &dns->timer);
		return;
	}
	uint64_t delay_us = (uint64_t)wait.tv_sec * USEC_PER_SEC + (uint64_t)wait.tv_usec;
	timer_arm_after(dns->settings.runtime, &dns->timer, delay_us < USEC_PER_MSEC ? USEC_PER_MSEC : delay_us);
}

static void repeat(struct timer *timer, void *userdata) {
	struct dns *dns = userdata;

	(void)timer;
	ares_process_fd(dns->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	arm(dns);
}

bool dns_ready(struct dns *dns, int fd, unsigned events) {
	for (size_t i = 0; i < dns->socket_count; i++) {
		if (dns->sockets[i].fd != fd)
			continue;
		ares_process_fd(dns->channel, events & ~(unsigned)EPOLLOUT ? fd : ARES_SOCKET_BAD,
				events & EPOLLOUT ? fd : ARES_SOCKET_BAD);
		arm(dns);
		return true;
	}
	return false;
}

/* --- the channel --- */

static int channel_open(struct dns *dns) {
	struct ares_options options = {
		.timeout = ATTEMPT_MS, .tries = ATTEMPTS, .sock_state_cb = on_socket, .sock_state_cb_data = dns};

	int status = ares_init_options(&dns->channel, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);
	if (status != ARES_SUCCESS)
		return status == ARES_ENOMEM ? -ENOMEM : -EIO;
	if (dns->servers && ares_set_servers_ports_csv(dns->channel, dns->servers) != ARES_SUCCESS) {
		ares_destroy(dns->channel);
		return -EINVAL;
	}
	dns->open = true;
	return 0;
}

static void channel_close(struct dns *dns) {
	if (dns->open)
		ares_destroy(dns->channel); /* calls back what is still open */
	dns->open = false;
}

/* Other name servers, as when the site's router gave the machine others: nothing is under way, so that nothing is lost. */
static void follow_resolv_conf(struct dns *dns) {
	uint64_t now_us = dns->settings.runtime->now_us;
	struct stat status;

	if (dns->servers || dns->under_way > 0 || now_us < dns->checked_us + CHECK_SECONDS * USEC_PER_SEC)
		return;
	dns->checked_us = now_us;
	if (stat(RESOLV_CONF, &status) < 0 ||
	    (status.st_mtim.tv_sec == dns->read_of.tv_sec && status.st_mtim.tv_nsec == dns->read_of.tv_nsec))
		return;
	dns->read_of = status.st_mtim;
	channel_close(dns);
	if (channel_open(dns) < 0)
		log_warning("SIP cannot ask for names: %s cannot be used.", RESOLV_CONF);
}

DEFINE_CLEANUP(struct dns *, dns_free)

int dns_new(const struct dns_settings *settings, struct dns **ret) {
	_cleanup_(dns_freep) struct dns *dns = calloc(1, sizeof(*dns));
	struct stat status;

	if (!dns)
		return -ENOMEM;
	dns->settings = *settings;
	dns->settings.servers = NULL;
	timer_init(&dns->timer, repeat, dns);
	dns->library = ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS;
	if (!dns->library)
		return -EIO;
	if (settings->servers && !(dns->servers = strdup(settings->servers)))
		return -ENOMEM;
	if (stat(RESOLV_CONF, &status) == 0)
		dns->read_of = status.st_mtim;
	int error = channel_open(dns);
	if (error < 0)
		return error;
	*ret = TAKE(dns);
	return 0;
}

/* --- entries --- */

static void entry_free(struct entry *entry) {
	struct dns *dns = entry->dns;

	while (entry->waiting)
		dns_question_free(entry->waiting);
	if (entry->query)
		entry->query->entry = NULL;
	timer_disarm(dns->settings.runtime, &entry->timer);
	HASH_DEL(dns->entries, entry);
	DL_DELETE(dns->oldest, entry);
	dns->figures.entries--;
	free(entry->answer);
	free(entry);
}

struct dns *dns_free(struct dns *dns) {
	if (!dns)
		return NULL;
	while (dns->entries)
		entry_free(dns->entries);
	channel_close(dns);
	timer_disarm(dns->settings.runtime, &dns->timer);
	if (dns->library)
		ares_library_cleanup();
	free(dns->servers);
	free(dns);
	return NULL;
}

/* Who waits is told. What they do then may ask, or drop, anything. */
static void deliver(struct entry *entry) {
	if (entry->delivering)
		return;
	entry->delivering = true;
	while (entry->waiting) {
		struct dns_question *question = entry->waiting;
		dns_done done = question->done;
		void *userdata = question->userdata;
		dns_question_free(question);
		done(userdata, entry->answer ? entry->answer : &no_answer);
	}
	entry->delivering = false;
}

/* `answer` is owned from now on; NULL: none could be had. */
static void settle(struct entry *entry, struct dns_answer *answer) {
	struct dns *dns = entry->dns;
	uint64_t seconds = DNS_FAILURE_SECONDS;

	if (answer)
		seconds = answer->count > 0			 ? answer->ttl_s
			  : answer->ttl_s < DNS_NEGATIVE_SECONDS ? answer->ttl_s
								 : DNS_NEGATIVE_SECONDS;
	else
		dns->figures.failures++;
	if (seconds > DNS_TTL_MAX_SECONDS)
		seconds = DNS_TTL_MAX_SECONDS;
	free(entry->answer);
	entry->answer = answer;
	entry->expires_us = dns->settings.runtime->now_us + seconds * USEC_PER_SEC;
	entry->query = NULL;
	timer_arm(dns->settings.runtime, &entry->timer, dns->settings.runtime->now_us);
}

static void entry_due(struct timer *timer, void *userdata) {
	struct entry *entry = userdata;

	(void)timer;
	if (entry->query) {
		entry->query->entry = NULL;
		settle(entry, NULL);
		return;
	}
	deliver(entry);
}

static void on_answer(void *userdata, int status, int timeouts, unsigned char *data, int length) {
	struct query *query = userdata;
	struct entry *entry = query->entry;
	struct dns_answer *answer = NULL;

	(void)timeouts;
	query->dns->under_way--;
	if (entry && (status == ARES_SUCCESS || status == ARES_ENOTFOUND || status == ARES_ENODATA)) {
		if (data && length > 0)
			dns_answer_parse(OCTETS(data, length), query->name, query->type, &answer);
		else if (status != ARES_SUCCESS && (answer = calloc(1, sizeof(*answer))))
			answer->ttl_s = DNS_FAILURE_SECONDS;
	}
	if (entry)
		settle(entry, answer);
	free(query);
}

static bool is_idle(const struct entry *entry) {
	return !entry->query && !entry->waiting && !entry->delivering;
}

/* Room for one more; false when all that is kept is in use. */
static bool make_room(struct dns *dns) {
	struct entry *entry, *next;

	DL_FOREACH_SAFE (dns->oldest, entry, next) {
		if (dns->figures.entries < DNS_ENTRIES)
			break;
		if (is_idle(entry))
			entry_free(entry);
	}
	return dns->figures.entries < DNS_ENTRIES;
}

static int entry_new(struct dns *dns, const char *key, struct entry **ret) {
	if (!make_room(dns))
		return -ENOBUFS;
	struct entry *entry = calloc(1, sizeof(*entry));
	if (!entry)
		return -ENOMEM;
	entry->dns = dns;
	memcpy(entry->key, key, KEY_SIZE);
	timer_init(&entry->timer, entry_due, entry);
	HASH_ADD_STR(dns->entries, key, entry);
	if (!entry->hh.tbl) {
		free(entry);
		return -ENOMEM;
	}
	DL_APPEND(dns->oldest, entry);
	dns->figures.entries++;
	*ret = entry;
	return 0;
}

/* Lower case without final dot; letters, digits, "-", "_" only, as in host names and the names of SRV records. */
static int make_key(const char *name, enum dns_type type, char key[static KEY_SIZE]) {
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-_.";
	size_t length = strlen(name);
	int start = snprintf(key, KEY_SIZE, "%d ", (int)type);

	if (length > 0 && name[length - 1] == '.')
		length--;
	if (length == 0 || length > DNS_NAME_SIZE - 3 || name[0] == '.')
		return -EINVAL;
	for (size_t i = 0, label = 0; i < length; i++) {
		char c = ascii_lower(name[i]);
		label = c == '.' ? 0 : label + 1;
		if (!strchr(allowed, c) || label > 63 || (c == '.' && name[i + 1] == '.'))
			return -EINVAL;
		key[(size_t)start + i] = c;
	}
	key[(size_t)start + length] = 0;
	return 0;
}

static const char *name_of(const char *key) {
	return strchr(key, ' ') + 1;
}

static int ask(struct entry *entry, enum dns_type type) {
	struct dns *dns = entry->dns;

	if (dns->under_way >= DNS_QUERIES)
		return -ENOBUFS;
	follow_resolv_conf(dns);
	struct query *query = calloc(1, sizeof(*query));
	if (!query)
		return -ENOMEM;
	query->dns = dns;
	query->entry = entry;
	query->type = type;
	snprintf(query->name, sizeof(query->name), "%s", name_of(entry->key));
	entry->query = query;
	dns->under_way++;
	dns->figures.queries++;
	timer_arm_after(dns->settings.runtime, &entry->timer, DNS_SECONDS * USEC_PER_SEC);
	if (dns->open)
		ares_query(dns->channel, query->name, ns_c_in, (int)type, on_answer, query);
	else
		on_answer(query, ARES_ESERVFAIL, 0, NULL, 0);
	arm(dns);
	return 0;
}

static bool is_fresh(const struct entry *entry) {
	return !entry->query && entry->expires_us > entry->dns->settings.runtime->now_us;
}

int dns_ask(struct dns *dns, const char *name, enum dns_type type, dns_done done, void *userdata, struct dns_question **ret) {
	struct entry *entry = NULL;
	char key[KEY_SIZE] = "";

	int error = make_key(name, type, key);
	if (error < 0)
		return error;
	if (dns->waiting >= DNS_WAITING)
		return -ENOBUFS;
	HASH_FIND_STR(dns->entries, key, entry);
	if (!entry && (error = entry_new(dns, key, &entry)) < 0)
		return error;
	struct dns_question *question = calloc(1, sizeof(*question));
	if (!question)
		return -ENOMEM;
	if (is_fresh(entry)) {
		dns->figures.hits++;
		timer_arm(dns->settings.runtime, &entry->timer, dns->settings.runtime->now_us);
	} else if (!entry->query && (error = ask(entry, type)) < 0) {
		free(question);
		return error;
	}
	*question = (struct dns_question){.entry = entry, .done = done, .userdata = userdata};
	DL_APPEND(entry->waiting, question);
	dns->waiting++;
	DL_DELETE(dns->oldest, entry);
	DL_APPEND(dns->oldest, entry);
	*ret = question;
	return 0;
}

struct dns_question *dns_question_free(struct dns_question *question) {
	if (!question)
		return NULL;
	question->entry->dns->waiting--;
	DL_DELETE(question->entry->waiting, question);
	free(question);
	return NULL;
}

const struct dns_answer *dns_known(struct dns *dns, const char *name, enum dns_type type) {
	struct entry *entry = NULL;
	char key[KEY_SIZE] = "";

	if (make_key(name, type, key) < 0)
		return NULL;
	HASH_FIND_STR(dns->entries, key, entry);
	return entry && is_fresh(entry) ? entry->answer : NULL;
}

struct dns_figures dns_figures(const struct dns *dns) {
	return dns->figures;
}
