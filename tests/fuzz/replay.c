/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs a fuzz target over every file of its corpus, as `make check` does. Each input lies in a block of exactly its size. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path) {
	FILE *file = fopen(path, "rb");
	uint8_t *data = NULL;
	long size = -1;

	if (file && fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) >= 0) {
		rewind(file);
		data = malloc(size > 0 ? (size_t)size : 1);
	}
	if (!data || fread(data, 1, (size_t)size, file) != (size_t)size) {
		fprintf(stderr, "%s cannot be read\n", path);
		size = -1;
	} else {
		LLVMFuzzerTestOneInput(data, (size_t)size);
	}
	free(data);
	if (file)
		fclose(file);
	return size < 0 ? -1 : 0;
}

int main(int argc, char **argv) {
	char path[4096];
	unsigned count = 0;
	struct dirent *entry;
	DIR *directory = argc == 2 ? opendir(argv[1]) : NULL;

	if (!directory) {
		fprintf(stderr, "usage: %s CORPUS-DIRECTORY\n", argv[0]);
		return EXIT_FAILURE;
	}
	while ((entry = readdir(directory))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", argv[1], entry->d_name);
		if (replay_file(path) < 0)
			return EXIT_FAILURE;
		count++;
	}
	closedir(directory);
	printf("%u inputs\n", count);
	return count > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
