/* The floor under a framed call: the same bytes sent and received, and nothing else.
 *
 *     pingpong SOCKET CALLS DEPTH JSON [poll]
 *
 * DEPTH requests leave in one send, then their replies are read; DEPTH 1 is one call at a time.
 * Nothing is parsed: the first reply, read by its header, tells how long each one is. With
 * `poll` it asks for the reply until it is there, as our blocking channel does at first;
 * without, it sleeps in recv, and pays for being woken.
 * Prints client CPU and wall time per call, as JSON.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { HEADER = 4, REPLY_BYTES = 256 * 1024 };

static char reply[REPLY_BYTES];
static int recv_flags;

static void fail(const char *what)
{
    fprintf(stderr, "pingpong: %s: %s\n", what, errno ? strerror(errno) : "the server closed it");
    exit(1);
}

static double seconds(clockid_t clock)
{
    struct timespec now;
    if (clock_gettime(clock, &now) < 0)
        fail("clock");
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void send_all(int fd, const char *data, size_t size)
{
    while (size) {
        ssize_t sent = send(fd, data, size, 0);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            fail("send");
        data += sent;
        size -= (size_t)sent;
    }
}

/* Receive at least one byte. */
static size_t receive(int fd, char *into, size_t room)
{
    for (;;) {
        ssize_t got = recv(fd, into, room, recv_flags);
        if (got > 0)
            return (size_t)got;
        if (got == 0)
            errno = 0;
        if (got == 0 || (errno != EINTR && errno != EAGAIN))
            fail("recv");
    }
}

static size_t first_reply(int fd)
{
    size_t got = 0, size = HEADER;
    while (got < size) {
        got += receive(fd, reply + got, size - got);
        if (size == HEADER && got == HEADER) {
            const unsigned char *b = (const unsigned char *)reply;
            size += (size_t)b[0] << 24 | (size_t)b[1] << 16 | (size_t)b[2] << 8 | b[3];
            if (size > sizeof reply) {
                errno = EMSGSIZE;
                fail("reply");
            }
        }
    }
    return size;
}

static void exchange(int fd, long turns, const char *batch, size_t batch_size, size_t reply_size)
{
    for (long turn = 0; turn < turns; turn++) {
        send_all(fd, batch, batch_size);
        for (size_t missing = reply_size; missing;) {
            size_t got = receive(fd, reply, sizeof reply);
            if (got > missing) {
                errno = EPROTO;
                fail("more came than was asked for");
            }
            missing -= got;
        }
    }
}

int main(int argc, char **argv)
{
    if (argc < 5 || argc > 6 || (argc == 6 && strcmp(argv[5], "poll") != 0)) {
        fprintf(stderr, "usage: pingpong SOCKET CALLS DEPTH JSON [poll]\n");
        return 2;
    }
    recv_flags = argc == 6 ? MSG_DONTWAIT : 0;
    long calls = atol(argv[2]), depth = atol(argv[3]);
    size_t body = strlen(argv[4]), frame = HEADER + body;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (calls < 1 || depth < 1 || depth > calls || body > 64 * 1024 ||
        strlen(argv[1]) >= sizeof address.sun_path) {
        fprintf(stderr, "pingpong: an argument is out of range\n");
        return 2;
    }
    char *batch = malloc(frame * (size_t)depth);
    if (batch == NULL)
        fail("memory");
    for (long i = 0; i < depth; i++) {
        char *at = batch + frame * (size_t)i;
        for (int shift = 24; shift >= 0; shift -= 8)
            *at++ = (char)(body >> shift);
        memcpy(at, argv[4], body);
    }

    signal(SIGPIPE, SIG_IGN);
    strcpy(address.sun_path, argv[1]);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0)
        fail("socket");
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail(argv[1]);
    send_all(fd, batch, frame);
    size_t reply_size = first_reply(fd) * (size_t)depth;

    long turns = calls / depth;
    exchange(fd, turns / 10 + 1, batch, frame * (size_t)depth, reply_size);
    double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    exchange(fd, turns, batch, frame * (size_t)depth, reply_size);
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    wall = seconds(CLOCK_MONOTONIC) - wall;
    double done = (double)(turns * depth);
    printf("{\"cpu\": %.4f, \"wall\": %.4f}\n", cpu / done * 1e6, wall / done * 1e6);
    return 0;
}
