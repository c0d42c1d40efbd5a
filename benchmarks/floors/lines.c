/* The floor under reading text by the line: find every line's end and copy nothing.
 *
 *     lines FILE ITEMS PASSES
 *
 * FILE holds that many events, or responses. Prints CPU and wall time per item in nanoseconds,
 * as JSON. A reader that looks into its lines, and makes objects of them, is far above this.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double seconds(clockid_t clock)
{
    struct timespec now;
    if (clock_gettime(clock, &now) < 0) {
        perror("lines: clock");
        exit(1);
    }
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    long length = 0;
    char *data = NULL;
    if (file != NULL && fseek(file, 0, SEEK_END) == 0 && (length = ftell(file)) > 0) {
        rewind(file);
        data = malloc((size_t)length);
        if (data != NULL && fread(data, 1, (size_t)length, file) != (size_t)length)
            data = NULL;
    }
    if (data == NULL) {
        fprintf(stderr, "lines: %s: %s\n", path, errno ? strerror(errno) : "it is empty");
        exit(1);
    }
    fclose(file);
    *size = (size_t)length;
    return data;
}

static size_t walk(const char *data, size_t size, const char **last)
{
    size_t lines = 0;
    const char *end = data + size, *at;
    while (data < end && (at = memchr(data, '\n', (size_t)(end - data))) != NULL) {
        *last = data;
        data = at + 1;
        lines++;
    }
    return lines;
}

int main(int argc, char **argv)
{
    long items = argc == 4 ? atol(argv[2]) : 0, passes = argc == 4 ? atol(argv[3]) : 0;
    if (items < 1 || passes < 1) {
        fprintf(stderr, "usage: lines FILE ITEMS PASSES\n");
        return 2;
    }
    size_t size;
    const char *data = read_file(argv[1], &size);

    /* Written through a volatile pointer, so that the compiler cannot drop the walk. */
    const char *last = data;
    const char *volatile kept;
    size_t lines = walk(data, size, &last), seen = 0;
    double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (long pass = 0; pass < passes; pass++) {
        seen += walk(data, size, &last);
        kept = last;
    }
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    wall = seconds(CLOCK_MONOTONIC) - wall;
    (void)kept;
    if (lines == 0 || seen != lines * (size_t)passes) {
        fprintf(stderr, "lines: the walk went wrong\n");
        return 1;
    }
    double done = (double)passes * (double)items;
    printf("{\"cpu\": %.4f, \"wall\": %.4f}\n", cpu / done * 1e9, wall / done * 1e9);
    return 0;
}
