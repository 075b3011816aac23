/* SPDX-License-Identifier: BSD-2-Clause */
/* The ring as a picture: every peer at the place of its Node-ID, its fingers as lines, and the figures of the run beside it. */
#include "sim/picture.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
	SIZE = 1000,	   /* of the picture, without the figures */
	RADIUS = 440,	   /* of the ring */
	PANEL = 420,	   /* width of the figures */
	LINES_MAX = 20000, /* fingers drawn; of larger overlays only those of some peers */
	LINE_HEIGHT = 26,
};

struct point {
	double x, y;
};

/* Zero is at the top, identifiers grow clockwise. */
static struct point place(const struct id *id, double radius) {
	double part = 0;

	for (size_t i = 8; i-- > 0;)
		part = (part + id->octets[i]) / 256;
	double angle = 2 * M_PI * part - M_PI / 2;
	return (struct point){SIZE / 2.0 + radius * cos(angle), SIZE / 2.0 + radius * sin(angle)};
}

static const char *color_of(const struct sim_node *node) {
	if (!node->host)
		return "#b0b0b0";
	if (node->left)
		return "#7a6ff0";
	return node->state == TOPOLOGY_JOINED ? "#1a7f37" : "#d9822b";
}

static void draw_fingers(FILE *file, struct sim_world *world) {
	size_t drawn = 0, step = 1 + world->alive * 32 / LINES_MAX;

	fputs("<g stroke=\"#3572b0\" stroke-opacity=\"0.15\" stroke-width=\"1\">\n", file);
	for (size_t i = 0; i < world->node_count && drawn < LINES_MAX; i += step) {
		const struct sim_node *node = world->nodes[i];
		struct topology_view view;
		if (!node->host || node->state != TOPOLOGY_JOINED)
			continue;
		node->topology->ops->view(node->topology, &view);
		struct point from = place(&node->id, RADIUS);
		for (size_t k = 0; k < view.finger_count; k++, drawn++) {
			struct point to = place(&view.fingers[k], RADIUS);
			fprintf(file, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", from.x, from.y, to.x, to.y);
		}
	}
	fputs("</g>\n", file);
}

static void draw_peers(FILE *file, const struct sim_world *world) {
	double radius = world->node_count < 200 ? 6 : world->node_count < 2000 ? 3 : 1.5;

	for (size_t i = 0; i < world->node_count; i++) {
		const struct sim_node *node = world->nodes[i];
		char text[ID_TEXT_SIZE];
		struct point at = place(&node->id, node->host ? RADIUS : RADIUS + 20);
		fprintf(file, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" fill=\"%s\"><title>node %zu, %s</title></circle>\n", at.x,
			at.y, radius, color_of(node), node->index, id_format(&node->id, text));
	}
	for (size_t i = 0; i < world->settings.records && i < LINES_MAX; i++) {
		struct point at = place(&world->records[i].place, RADIUS - 20);
		fprintf(file, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"1.5\" fill=\"%s\"/>\n", at.x, at.y,
			world->records[i].lost ? "#d1242f" : "#8c6d1f");
	}
}

static void draw_figures(FILE *file, const struct sim_world *world) {
	const struct sim_figures *figures = &world->figures;
	const struct {
		const char *name;
		double value;
	} lines[] = {
		{"seconds", (double)sim_now_us(world) / USEC_PER_SEC},
		{"peers alive", (double)world->alive},
		{"joins", (double)figures->joins},
		{"fell out", (double)figures->falls},
		{"crashes", (double)figures->kills},
		{"lookups", (double)figures->lookups},
		{"lookups not good", (double)(figures->lookups_failed + figures->lookups_stale + figures->lookups_missing)},
		{"Stores acknowledged", (double)figures->stores_acknowledged},
		{"records lost", (double)figures->records_lost},
		{"hops on average", figures->probes ? (double)figures->hops / (double)figures->probes : 0},
		{"links a peer", sim_links_mean(world)},
	};
	double y = 80;

	fputs("<g font-family=\"sans-serif\" font-size=\"18\" fill=\"#222\">\n", file);
	/* NOLINTNEXTLINE(cert-flp30-c): it does not count */
	for (size_t i = 0; i < ARRAY_LENGTH(lines); i++, y += LINE_HEIGHT)
		fprintf(file, "<text x=\"%d\" y=\"%.0f\">%s</text><text x=\"%d\" y=\"%.0f\" text-anchor=\"end\">%.*f</text>\n",
			SIZE + 20, y, lines[i].name, SIZE + PANEL - 20, y, lines[i].value == floor(lines[i].value) ? 0 : 2,
			lines[i].value);
	y += LINE_HEIGHT;
	fprintf(file,
		"<text x=\"%d\" y=\"%.0f\">green: joined, orange: joining,</text><text x=\"%d\" y=\"%.0f\">grey, outside: dead, "
		"violet: left,</text>"
		"<text x=\"%d\" y=\"%.0f\">brown, inside: records, red: lost</text>\n",
		SIZE + 20, y, SIZE + 20, y + LINE_HEIGHT, SIZE + 20, y + 2 * LINE_HEIGHT);
	fputs("</g>\n", file);
}

int sim_picture_write(struct sim_world *world, const char *path) {
	char beside[4096];

	if ((size_t)snprintf(beside, sizeof(beside), "%s.new", path) >= sizeof(beside))
		return -ENAMETOOLONG;
	FILE *file = fopen(beside, "we");
	if (!file)
		return -errno;
	fprintf(file,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\">\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
		SIZE + PANEL, SIZE, SIZE + PANEL, SIZE);
	draw_fingers(file, world);
	draw_peers(file, world);
	draw_figures(file, world);
	fputs("</svg>\n", file);
	bool failed = ferror(file);
	if (fclose(file) != 0 || failed) {
		int error = errno ? -errno : -EIO;
		(void)remove(beside);
		return error;
	}
	/* Whoever watches the file sees whole pictures only. */
	return rename(beside, path) < 0 ? -errno : 0;
}
