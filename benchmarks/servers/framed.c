/* A vault that costs next to nothing, so that what is measured is the client.
 *
 *     framed SOCKET [spin]
 *
 * Frames are four bytes of big-endian length and then JSON. It answers authenticate,
 * challenge_response, retrieve, list, use and release_lease with bodies of a realistic size,
 * echoing each request's id; any other method gets an error reply. It checks no signature and
 * keeps no secret: it must never be used for anything but this.
 *
 * It prints "ready" once it listens and ends when its standard input does, so that it cannot
 * outlive the run that started it. With `spin` it never sleeps: on a core of its own its
 * wake-up time then stays out of the client's figures.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    MAX_CONNECTIONS = 256,
    IN_BYTES = 256 * 1024,
    /* A client that sends and does not read is not read from either beyond this. */
    OUT_LIMIT = 1024 * 1024,
    HEADER = 4,
    /* Reads of a lone connection between two looks at the listener. */
    HOT_TRIES = 256,
};

struct connection {
    int fd;
    size_t in_used;
    char *in;
    char *out; /* replies the kernel has not taken yet: out[out_start .. out_end) */
    size_t out_start, out_end, out_cap;
};

static struct connection connections[MAX_CONNECTIONS];
static struct pollfd polled[2 + MAX_CONNECTIONS]; /* standard input, listener, connections */
static int connection_count;

static void fail(const char *what)
{
    fprintf(stderr, "framed: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *allocate(void *old, size_t size)
{
    void *block = realloc(old, size);
    if (block == NULL)
        fail("memory");
    return block;
}

static uint32_t read_u32(const char *p)
{
    const unsigned char *b = (const unsigned char *)p;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static void write_u32(char *p, uint32_t n)
{
    p[0] = (char)(n >> 24);
    p[1] = (char)(n >> 16);
    p[2] = (char)(n >> 8);
    p[3] = (char)n;
}

/* ---- replies ------------------------------------------------------------------------- */

struct reply {
    const char *method;
    const char *rest; /* everything after the id, the closing brace included */
    int lease;        /* holds a lease id whose last eight digits are filled in */
};

#define LEASE "L-41d0c5a2e86b4f70"
static const struct reply replies[] = {
    {"retrieve",
     ",\"result\":{\"path\":\"openai/api_key\","
     "\"value\":\"736b2d70726f6a2d4b3748515a3252314c394d5836543856304e345935553357\","
     "\"lease_id\":\"" LEASE "00000000\",\"ttl\":300,"
     "\"expires_at\":\"2031-05-06T07:08:09Z\"}}",
     1},
    {"use",
     ",\"result\":{\"header_name\":\"Authorization\","
     "\"header_value\":\"Bearer sk-proj-K7HQZ2R1L9MX6T8V0N4Y5U3W\","
     "\"header\":\"Authorization: Bearer sk-proj-K7HQZ2R1L9MX6T8V0N4Y5U3W\"}}",
     0},
    {"release_lease", ",\"result\":{}}", 0},
    {"list",
     ",\"result\":{\"credentials\":["
     "{\"path\":\"openai/api_key\",\"type\":\"api_key\",\"description\":\"model gateway\","
     "\"tags\":[\"prod\",\"llm\"],\"created_at\":\"2031-01-02T03:04:05Z\",\"access_count\":1532},"
     "{\"path\":\"maps/token\",\"type\":\"token\",\"tags\":[\"geo\"],"
     "\"created_at\":\"2031-02-03T04:05:06Z\",\"access_count\":17},"
     "{\"path\":\"db/password\",\"type\":\"password\",\"description\":\"orders, read only\","
     "\"tags\":[],\"created_at\":\"2031-03-04T05:06:07Z\",\"access_count\":88}]}}",
     0},
    {"authenticate",
     ",\"result\":{\"session_id\":\"s-9f2c7d18a4e3\",\"challenge\":"
     "\"a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf\"}}",
     0},
    {"challenge_response",
     ",\"result\":{\"authenticated\":true,\"session_id\":\"s-9f2c7d18a4e3\"}}", 0},
};
static const struct reply unknown = {
    "", ",\"error\":{\"code\":\"INVALID_REQUEST\",\"message\":\"no such method here\"}}", 0};

static const struct reply *reply_for(const char *name, size_t size)
{
    for (size_t i = 0; i < sizeof replies / sizeof *replies; i++)
        if (strlen(replies[i].method) == size && memcmp(replies[i].method, name, size) == 0)
            return &replies[i];
    return &unknown;
}

/* Write the last eight digits of the lease id: each lease is another one. */
static void number_lease(char *body, size_t size)
{
    static uint32_t leases;
    static const char digits[] = "0123456789abcdef";
    char *at = memmem(body, size, LEASE, sizeof LEASE - 1);
    uint32_t number = ++leases;
    for (int i = 7; i >= 0; i--, number >>= 4)
        at[sizeof LEASE - 1 + i] = digits[number & 15];
}

static char *reserve(struct connection *c, size_t room)
{
    if (c->out_cap - c->out_end < room) {
        memmove(c->out, c->out + c->out_start, c->out_end - c->out_start);
        c->out_end -= c->out_start;
        c->out_start = 0;
        while (c->out_cap - c->out_end < room)
            c->out = allocate(c->out, c->out_cap = c->out_cap ? c->out_cap * 2 : 64 * 1024);
    }
    return c->out + c->out_end;
}

/* Answer one request. The two members are found by their text, not by parsing: no client
 * measured here writes them any other way, and a string value cannot hold a bare quote. */
static void answer(struct connection *c, const char *json, size_t size)
{
    static const char id_key[] = "\"id\":", method_key[] = "\"method\":\"";
    const char *end = json + size;
    const char *id = memmem(json, size, id_key, sizeof id_key - 1);
    size_t id_size = 0;
    if (id != NULL)
        for (id += sizeof id_key - 1; id + id_size < end && id[id_size] >= '0' &&
                                      id[id_size] <= '9';)
            id_size++;
    if (id_size == 0) {
        id = "0";
        id_size = 1;
    }
    const struct reply *reply = &unknown;
    const char *name = memmem(json, size, method_key, sizeof method_key - 1);
    if (name != NULL) {
        name += sizeof method_key - 1;
        const char *quote = memchr(name, '"', (size_t)(end - name));
        if (quote != NULL)
            reply = reply_for(name, (size_t)(quote - name));
    }

    static const char open[] = "{\"id\":";
    size_t rest = strlen(reply->rest);
    size_t body = sizeof open - 1 + id_size + rest;
    char *out = reserve(c, HEADER + body);
    write_u32(out, (uint32_t)body);
    memcpy(out + HEADER, open, sizeof open - 1);
    memcpy(out + HEADER + sizeof open - 1, id, id_size);
    memcpy(out + HEADER + sizeof open - 1 + id_size, reply->rest, rest);
    if (reply->lease)
        number_lease(out + HEADER, body);
    c->out_end += HEADER + body;
}

/* ---- connections --------------------------------------------------------------------- */

/* Send what the kernel takes; the rest waits for POLLOUT. Returns -1 when the peer is gone. */
static int flush(struct connection *c)
{
    while (c->out_start < c->out_end) {
        ssize_t sent = send(c->fd, c->out + c->out_start, c->out_end - c->out_start, 0);
        if (sent >= 0) {
            c->out_start += (size_t)sent;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return 0;
        } else if (errno != EINTR) {
            return -1;
        }
    }
    c->out_start = c->out_end = 0;
    return 0;
}

/* Read once and answer every whole frame. Returns 1 when something was read, 0 when there
 * was nothing, -1 when the connection is over. */
static int serve(struct connection *c)
{
    ssize_t got = recv(c->fd, c->in + c->in_used, IN_BYTES - c->in_used, 0);
    if (got == 0)
        return -1;
    if (got < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -1;
    c->in_used += (size_t)got;
    size_t at = 0;
    while (c->in_used - at >= HEADER) {
        uint32_t size = read_u32(c->in + at);
        if (size > IN_BYTES - HEADER) {
            fprintf(stderr, "framed: a frame of %u bytes is more than this server takes\n", size);
            return -1;
        }
        if (c->in_used - at - HEADER < size)
            break;
        answer(c, c->in + at + HEADER, size);
        at += HEADER + size;
    }
    memmove(c->in, c->in + at, c->in_used - at);
    c->in_used -= at;
    return flush(c) < 0 ? -1 : 1;
}

static void welcome(int listener)
{
    int fd;
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        if (connection_count == MAX_CONNECTIONS) {
            fprintf(stderr, "framed: more than %d connections\n", MAX_CONNECTIONS);
            close(fd);
            continue;
        }
        if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
            fail("fcntl");
        struct connection *c = &connections[connection_count++];
        *c = (struct connection){.fd = fd, .in = allocate(NULL, IN_BYTES)};
    }
    if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR && errno != ECONNABORTED)
        fail("accept");
}

static void drop(int index)
{
    struct connection *c = &connections[index];
    close(c->fd);
    free(c->in);
    free(c->out);
    *c = connections[--connection_count];
}

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        fprintf(stderr, "framed: the socket path is too long: %s\n", path);
        exit(1);
    }
    strcpy(address.sun_path, path);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    if (listener < 0)
        fail("socket");
    if (fcntl(listener, F_SETFL, O_NONBLOCK) < 0)
        fail("fcntl");
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0)
        fail(path);
    if (listen(listener, MAX_CONNECTIONS) < 0)
        fail("listen");
    return listener;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3 || (argc == 3 && strcmp(argv[2], "spin") != 0)) {
        fprintf(stderr, "usage: framed SOCKET [spin]\n");
        return 2;
    }
    int spin = argc == 3;
    signal(SIGPIPE, SIG_IGN);
    int listener = listen_at(argv[1]);
    puts("ready");
    fflush(stdout);

    polled[0] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    polled[1] = (struct pollfd){.fd = listener, .events = POLLIN};
    for (;;) {
        for (int i = 0; i < connection_count; i++) {
            struct connection *c = &connections[i];
            size_t waiting = c->out_end - c->out_start;
            polled[2 + i].fd = c->fd;
            polled[2 + i].events =
                (short)((waiting ? POLLOUT : 0) | (waiting < OUT_LIMIT ? POLLIN : 0));
        }
        int known = connection_count;
        if (poll(polled, (nfds_t)(2 + known), spin ? 0 : -1) < 0) {
            if (errno == EINTR)
                continue;
            fail("poll");
        }
        if (polled[0].revents) {
            char byte;
            if (read(STDIN_FILENO, &byte, 1) <= 0)
                return 0;
        }
        /* From the last to the first: drop() moves the last one into the gap. */
        for (int i = known - 1; i >= 0; i--) {
            short events = polled[2 + i].revents;
            struct connection *c = &connections[i];
            int state = 0;
            if (events & POLLOUT)
                state = flush(c);
            if (state == 0 && (events & (POLLIN | POLLHUP | POLLERR))) {
                state = serve(c);
                if (spin && known == 1)
                    for (int try = 0; state >= 0 && c->out_end == 0 && try < HOT_TRIES; try++)
                        state = serve(c);
            }
            if (state < 0)
                drop(i);
        }
        if (polled[1].revents)
            welcome(listener);
    }
}
