/* An HTTP/1.1 server that costs next to nothing, so that what is measured is the client.
 *
 *     httpd SOCKET [spin] [FOLDER]
 *
 * It listens on the Unix socket and on a loopback port of its own choosing, and keeps every
 * connection open. Bodies of requests need a Content-Length.
 *
 *     /v1/call           a small JSON object with a Content-Length
 *     /api/v1/run        what the governance service says of one run
 *     /v1/together/N     the same, when N connections have asked for it: all at once
 *     /v1/tokens/N...    a chunked event stream: N tokens, each an event, a chunk and a send,
 *                        as fast as the connection takes them, and then [DONE]
 *     /v1/chat/completions
 *                        what a model says, whole or, with "stream": true, token by token;
 *                        "max_tokens" says how many, and the model's name how:
 *
 *     quick              as fast as the connection takes them
 *     steady             a token when the one before was read, as from a model that thinks;
 *                        on a Unix socket alone, where the kernel can tell
 *     steady-N           the same, when N of them have been asked for: all begin at once
 *     bare-...           the same, for clients that cannot read chunks: the response is not
 *                        chunked, and ends with its connection
 *
 *     /v1/accepted       how many connections were accepted so far, this one included
 *     /api/v1/agents/..., /api/v1/tool-review/sessions..., /api/v1/knowledge/search
 *                        status.json, sessions.json and search.json of FOLDER, which are what
 *                        an agent runtime has answered; without FOLDER, 404
 *     /api/v1/workflows/execute, /api/v1/policy/evaluate, /api/v1/observability/events,
 *     /api/v1/observability/batch
 *                        execute.json, evaluate.json, event.json and batch.json of FOLDER, from
 *                        a workflow server
 *
 * Any path may be asked with any method, and with anything after it; other paths get 404. It
 * checks no key and no body: it must never be used for anything but this.
 *
 * It prints "ready PORT" once it listens and ends when its standard input does, so that it
 * cannot outlive the run that started it. With `spin` it never sleeps: on a core of its own
 * its wake-up time then stays out of the client's figures.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <linux/sockios.h>

enum {
    IN_BYTES = 64 * 1024,
    /* Of a request whose body is announced; most connections never need it. */
    LARGE_BYTES = 1024 * 1024,
    BACKLOG = 4096,
    BATCH = 512,
    /* A client that sends and does not read is not answered any further beyond this. */
    OUT_LIMIT = 1024 * 1024,
    /* Events one stream may send before the others have their turn. */
    TURN = 512,
    /* Reads of a lone connection between two looks at the others. */
    HOT_TRIES = 256,
    MAX_TOKENS = 100 * 1000 * 1000,
    MAX_HELD = 4096,
    /* Of a model that was not told how many. */
    SOME_TOKENS = 16,
};

struct text {
    const char *data;
    size_t size;
};

struct connection {
    int fd;
    uint32_t interest;
    int closing; /* no further request is read: close when all is sent */
    size_t in_used, in_cap;
    char *in;
    char *out; /* replies the kernel has not taken yet: out[out_start .. out_end) */
    size_t out_start, out_end, out_cap;
    long tokens;     /* events of a stream that are still to be sent */
    size_t event_at; /* how much of the one under way has left */
    int word;
    int steady; /* a token leaves when the one before was read */
    int bare;   /* tokens leave without a chunk around them */
    const struct text *tail;
    int held; /* it has asked for what all get together: a reply, or the begin of a stream */
};

static int poller, connection_count, accepted_count, steady_sent, steady_waits;
static struct connection *held[MAX_HELD];
static long held_count, held_until;

static void fail(const char *what)
{
    fprintf(stderr, "httpd: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *allocate(void *old, size_t size)
{
    void *block = realloc(old, size);
    if (block == NULL)
        fail("memory");
    return block;
}

/* ---- what is answered ------------------------------------------------------------------ */

#define FIELDS                                                                                    \
    "Date: Mon, 05 May 2031 10:00:00 GMT\r\nServer: bench\r\nX-Request-Id: 8d0c7b0e2f4a4a55\r\n"

static const char call_body[] =
    "{\"id\":12345,\"status\":\"ok\",\"agent\":\"agent-0042\","
    "\"session\":\"6f1c2c9e-7c2a-4f0e-9f4a-0d4b8b1f2a77\","
    "\"tokens\":{\"prompt\":1532,\"completion\":211,\"total\":1743},"
    "\"tags\":[\"alpha\",\"beta\",\"gamma\"],\"latency_ms\":12.75,\"cached\":false,"
    "\"message\":\"the doorkeeper lets you pass, for now\"}";
static const char run_body[] =
    "{\"result\":\"ALLOW\",\"output\":\"Thirty-one orders are late; the oldest by nine days.\","
    "\"mode\":\"NORMAL\",\"budget\":0.85,"
    "\"trace_id\":\"3b9d1f64-5f0a-4c0e-8a57-2f6f5d0c9b11\",\"latency_ms\":12.75}";
static const char chat_body[] =
    "{\"id\":\"chatcmpl-9xQ2vTn4LrB7dKc1PzWm8sYhEoAf\",\"object\":\"chat.completion\","
    "\"created\":1931234567,\"model\":\"a-model-of-this-year-2031-05-06\",\"choices\":[{"
    "\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"The socket in net.py, line 12, has no "
    "timeout: a peer that sends nothing holds the thread for ever. Give it one, and close it in "
    "a finally block. The other two findings are in tests and can stay.\",\"refusal\":null,"
    "\"annotations\":[]},\"logprobs\":null,\"finish_reason\":\"stop\"}],"
    "\"usage\":{\"prompt_tokens\":113,\"completion_tokens\":48,\"total_tokens\":161,"
    "\"prompt_tokens_details\":{\"cached_tokens\":0,\"audio_tokens\":0},"
    "\"completion_tokens_details\":{\"reasoning_tokens\":0,\"audio_tokens\":0}},"
    "\"service_tier\":\"default\",\"system_fingerprint\":\"fp_0a1b2c3d4e\"}";
static const char missing_body[] = "{\"code\":\"NOT_FOUND\",\"message\":\"no such path here\"}";
static const char large_body[] = "{\"code\":\"TOO_LARGE\",\"message\":\"1 MiB and no more\"}";
static const char length_body[] = "{\"code\":\"LENGTH\",\"message\":\"say a Content-Length\"}";

static const char stream_head[] = "HTTP/1.1 200 OK\r\n" FIELDS
                                  "Content-Type: text/event-stream; charset=utf-8\r\n"
                                  "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
static const char bare_head[] = "HTTP/1.1 200 OK\r\n" FIELDS
                                "Content-Type: text/event-stream; charset=utf-8\r\n"
                                "Cache-Control: no-cache\r\nConnection: close\r\n\r\n";
static const char done[] = "data: [DONE]\n\n", last_chunk[] = "0\r\n\r\n";

static const char *const words[] = {" a",      " late", " order",     " was",  " found",  " by",
                                    " the",    " door", " keeper",    " who",  " looked", " twice",
                                    " before", " he",   " nodded;",   " then", " it",     " passed."};
enum { WORDS = sizeof words / sizeof *words };
/* Those of [1] have no chunk around them. */
static struct text events[2][WORDS], stream_tail, chat_tails[2];
/* What a runtime has answered, and to what. */
static struct {
    const char *path, *file;
    struct text reply;
} recorded[] = {
    {.path = "/api/v1/agents/", .file = "status.json"},
    {.path = "/api/v1/tool-review/sessions", .file = "sessions.json"},
    {.path = "/api/v1/knowledge/search", .file = "search.json"},
    {.path = "/api/v1/workflows/execute", .file = "execute.json"},
    {.path = "/api/v1/policy/evaluate", .file = "evaluate.json"},
    {.path = "/api/v1/observability/events", .file = "event.json"},
    {.path = "/api/v1/observability/batch", .file = "batch.json"},
};
enum { RECORDED = sizeof recorded / sizeof *recorded, RECORDED_BYTES = 1024 * 1024 };
static struct text call_reply, run_reply, chat_reply, missing_reply, large_reply, length_reply;

static struct text reply_of(const char *status, const char *more, const char *body)
{
    char *data;
    int size = asprintf(&data,
                        "HTTP/1.1 %s\r\n" FIELDS
                        "Content-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n%s",
                        status, more, strlen(body), body);
    if (size < 0)
        fail("memory");
    return (struct text){data, (size_t)size};
}

/* What a model says at once: some text, or with NULL nothing but why it has stopped. */
static struct text event_of(const char *word)
{
    char *data;
    int size = asprintf(&data,
                        "data: {\"id\":\"chatcmpl-9xQ2vTn4LrB7dKc1PzWm8sYhEoAf\","
                        "\"object\":\"chat.completion.chunk\",\"created\":1931234567,"
                        "\"model\":\"a-model-of-this-year-2031-05-06\","
                        "\"system_fingerprint\":\"fp_0a1b2c3d4e\",\"choices\":[{\"index\":0,"
                        "\"delta\":{%s%s%s},\"logprobs\":null,\"finish_reason\":%s}]}\n\n",
                        word ? "\"role\":\"assistant\",\"content\":\"" : "", word ? word : "",
                        word ? "\"" : "", word ? "null" : "\"stop\"");
    if (size < 0)
        fail("memory");
    return (struct text){data, (size_t)size};
}

static struct text chunk_of(struct text event)
{
    char *data;
    int size = asprintf(&data, "%zx\r\n%s\r\n", event.size, event.data);
    if (size < 0)
        fail("memory");
    return (struct text){data, (size_t)size};
}

static struct text joined(struct text one, struct text other)
{
    char *data;
    int size = asprintf(&data, "%s%s", one.data, other.data);
    if (size < 0)
        fail("memory");
    return (struct text){data, (size_t)size};
}

/* Read what a runtime has answered. */
static void load(const char *folder)
{
    static char body[RECORDED_BYTES], path[4096];
    for (int i = 0; i < RECORDED; i++) {
        if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, recorded[i].file) >= sizeof path) {
            fprintf(stderr, "httpd: the path of the folder is too long\n");
            exit(1);
        }
        FILE *file = fopen(path, "rb");
        if (file == NULL)
            fail(path);
        size_t size = fread(body, 1, sizeof body - 1, file);
        if (ferror(file) || !feof(file)) {
            fprintf(stderr, "httpd: %s is unreadable or too large\n", path);
            exit(1);
        }
        fclose(file);
        body[size] = 0;
        recorded[i].reply = reply_of("200 OK", "", body);
    }
}

static void prepare(void)
{
    call_reply = reply_of("200 OK", "", call_body);
    run_reply = reply_of("200 OK", "", run_body);
    missing_reply = reply_of("404 Not Found", "", missing_body);
    large_reply = reply_of("413 Content Too Large", "Connection: close\r\n", large_body);
    length_reply = reply_of("411 Length Required", "Connection: close\r\n", length_body);
    chat_reply = reply_of("200 OK", "", chat_body);
    for (int i = 0; i < WORDS; i++) {
        events[1][i] = event_of(words[i]);
        events[0][i] = chunk_of(events[1][i]);
    }
    struct text stop = event_of(NULL), end = {done, sizeof done - 1};
    stream_tail = joined(chunk_of(end), (struct text){last_chunk, sizeof last_chunk - 1});
    chat_tails[0] = joined(chunk_of(stop), stream_tail);
    chat_tails[1] = joined(stop, end);
}

/* ---- requests -------------------------------------------------------------------------- */

static void queue(struct connection *c, const char *data, size_t size)
{
    if (c->out_cap - c->out_end < size) {
        memmove(c->out, c->out + c->out_start, c->out_end - c->out_start);
        c->out_end -= c->out_start;
        c->out_start = 0;
        while (c->out_cap - c->out_end < size)
            c->out = allocate(c->out, c->out_cap = c->out_cap ? c->out_cap * 2 : 16 * 1024);
    }
    memcpy(c->out + c->out_end, data, size);
    c->out_end += size;
}

/* The value of a header in one line, or NULL when the line is another header. */
static const char *value_of(const char *line, const char *end, const char *name)
{
    size_t size = strlen(name);
    if ((size_t)(end - line) <= size || line[size] != ':' || strncasecmp(line, name, size) != 0)
        return NULL;
    line += size + 1;
    while (line < end && (*line == ' ' || *line == '\t'))
        line++;
    return line;
}

static int begins(const char *path, const char *end, const char *with)
{
    size_t size = strlen(with);
    return (size_t)(end - path) >= size && memcmp(path, with, size) == 0;
}

/* The value of a member of a JSON object, its quotes passed over; NULL when there is none.
 * The name is looked for as text: nobody here sends it anywhere else. */
static const char *member(const char *body, const char *end, const char *name)
{
    const char *at = memmem(body, (size_t)(end - body), name, strlen(name));
    if (at == NULL)
        return NULL;
    for (at += strlen(name); at < end && strchr(": \"", *at) != NULL; at++)
        ;
    return at;
}

static long number_at(const char *at, const char *end)
{
    long found = 0;
    for (; at != NULL && at < end && isdigit((unsigned char)*at) && found < MAX_TOKENS; at++)
        found = found * 10 + (*at - '0');
    return found;
}

static void hold(struct connection *c, long until)
{
    held_until = until;
    held[held_count++] = c;
    c->held = 1;
}

/* A model answers: all at once, or by a stream. */
static void chat(struct connection *c, const char *body, const char *end)
{
    const char *wanted = member(body, end, "\"stream\"");
    if (wanted == NULL || !begins(wanted, end, "true")) {
        queue(c, chat_reply.data, chat_reply.size);
        return;
    }
    const char *model = member(body, end, "\"model\"");
    const char *most = member(body, end, "\"max_tokens\"");
    if (most == NULL)
        most = member(body, end, "\"max_completion_tokens\"");
    c->tokens = most == NULL ? SOME_TOKENS : number_at(most, end);
    c->bare = model != NULL && begins(model, end, "bare-");
    c->closing |= c->bare;
    c->tail = &chat_tails[c->bare];
    if (c->bare)
        queue(c, bare_head, sizeof bare_head - 1);
    else
        queue(c, stream_head, sizeof stream_head - 1);
    if (c->tokens == 0) {
        queue(c, c->tail->data, c->tail->size);
        return;
    }
    model = model == NULL ? end : model + (c->bare ? 5 : 0);
    c->steady = begins(model, end, "steady");
    long until = begins(model, end, "steady-") ? number_at(model + 7, end) : 0;
    if (until > 1 && held_count < MAX_HELD)
        hold(c, until);
}

static void answer(struct connection *c, const char *line, const char *end, const char *body,
                   const char *body_end)
{
    static const char tokens[] = "/v1/tokens/", together[] = "/v1/together/";
    int no_body = begins(line, end, "HEAD ");
    const struct text *reply = &missing_reply;
    const char *path = memchr(line, ' ', (size_t)(end - line));
    path = path == NULL ? end : path + 1;
    if (begins(path, end, tokens) && !no_body) {
        c->tokens = number_at(path + sizeof tokens - 1, end);
        c->steady = c->bare = 0;
        c->tail = &stream_tail;
        queue(c, stream_head, sizeof stream_head - 1);
        if (c->tokens == 0)
            queue(c, c->tail->data, c->tail->size);
        return;
    }
    if (begins(path, end, "/v1/chat/completions") && !no_body) {
        chat(c, body, body_end);
        return;
    }
    if (begins(path, end, together) && held_count < MAX_HELD) {
        hold(c, number_at(path + sizeof together - 1, end));
        return;
    }
    if (begins(path, end, "/v1/accepted")) {
        char body[64];
        snprintf(body, sizeof body, "{\"accepted\":%d}", accepted_count);
        struct text said = reply_of("200 OK", "", body);
        queue(c, said.data, said.size);
        free((char *)said.data);
        return;
    }
    for (int i = 0; i < RECORDED; i++)
        if (recorded[i].reply.data != NULL && begins(path, end, recorded[i].path))
            reply = &recorded[i].reply;
    if (begins(path, end, "/v1/call"))
        reply = &call_reply;
    else if (begins(path, end, "/api/v1/run"))
        reply = &run_reply;
    size_t size = reply->size;
    if (no_body) {
        const char *body = memmem(reply->data, size, "\r\n\r\n", 4);
        size = (size_t)(body - reply->data) + 4;
    }
    queue(c, reply->data, size);
}

/* Take the request at `data` and answer it. Returns how many bytes it had: 0 when it is not
 * whole yet. The head is read for what frames the body, and not checked. */
static size_t take(struct connection *c, const char *data, size_t size)
{
    const char *head_end = memmem(data, size, "\r\n\r\n", 4);
    if (head_end == NULL)
        return 0;
    size_t body = 0;
    const char *first = memchr(data, '\n', (size_t)(head_end + 2 - data));
    for (const char *line = first + 1; line < head_end;) {
        const char *end = memchr(line, '\r', (size_t)(head_end + 1 - line)), *value;
        if (end == NULL)
            end = head_end;
        if ((value = value_of(line, end, "content-length")) != NULL) {
            for (; value < end && isdigit((unsigned char)*value) && body < LARGE_BYTES; value++)
                body = body * 10 + (size_t)(*value - '0');
        } else if (value_of(line, end, "transfer-encoding") != NULL) {
            queue(c, length_reply.data, length_reply.size);
            c->closing = 1;
            return size;
        } else if ((value = value_of(line, end, "connection")) != NULL) {
            c->closing |= end - value == 5 && strncasecmp(value, "close", 5) == 0;
        }
        line = end + 2;
    }
    size_t whole = (size_t)(head_end - data) + 4 + body;
    if (whole > LARGE_BYTES) {
        queue(c, large_reply.data, large_reply.size);
        c->closing = 1;
        return size;
    }
    if (whole > c->in_cap)
        c->in = allocate(c->in, c->in_cap = LARGE_BYTES);
    if (size < whole)
        return 0;
    answer(c, data, first - 1, head_end + 4, data + whole);
    return whole;
}

static void take_all(struct connection *c)
{
    size_t at = 0, taken;
    while (!c->closing && !c->held && c->tokens == 0 && at < c->in_used &&
           c->out_end - c->out_start < OUT_LIMIT) {
        taken = take(c, c->in + at, c->in_used - at);
        if (taken == 0)
            break;
        at += taken;
    }
    memmove(c->in, c->in + at, c->in_used - at);
    c->in_used -= at;
    if (at == 0 && c->in_used == c->in_cap && !c->closing && !c->held && c->tokens == 0) {
        queue(c, large_reply.data, large_reply.size);
        c->closing = 1;
    }
}

/* ---- connections ----------------------------------------------------------------------- */

enum state { LOST, BLOCKED, IDLE };

static ssize_t push(int fd, const char *data, size_t size)
{
    for (;;) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent >= 0 || errno != EINTR)
            return sent;
    }
}

static enum state refused(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK ? BLOCKED : LOST;
}

static enum state flush(struct connection *c)
{
    while (c->out_start < c->out_end) {
        ssize_t sent = push(c->fd, c->out + c->out_start, c->out_end - c->out_start);
        if (sent < 0)
            return refused();
        c->out_start += (size_t)sent;
    }
    c->out_start = c->out_end = 0;
    return IDLE;
}

/* Whether something was sent that the other side has not read. */
static int unread(struct connection *c)
{
    int bytes = 0;
    return ioctl(c->fd, SIOCOUTQ, &bytes) == 0 && bytes != 0;
}

/* Send what is left of a stream: each event leaves in a send of its own, as a token does from
 * a model that has just made it. */
static enum state stream(struct connection *c)
{
    for (int turn = 0; c->tokens && turn < TURN; turn++) {
        struct text event = events[c->bare][c->word];
        if (c->steady && c->event_at == 0) {
            /* It is looked at again in the next round: there is always room for it. */
            if (unread(c)) {
                steady_waits = 1;
                return BLOCKED;
            }
            steady_sent = 1;
        }
        ssize_t sent = push(c->fd, event.data + c->event_at, event.size - c->event_at);
        if (sent < 0)
            return refused();
        c->event_at += (size_t)sent;
        if (c->event_at < event.size)
            continue;
        c->event_at = 0;
        c->word = (c->word + 1) % WORDS;
        if (--c->tokens == 0) {
            c->word = 0;
            queue(c, c->tail->data, c->tail->size);
        }
    }
    /* BLOCKED brings us back as soon as there is room, which may be at once. */
    return c->tokens ? BLOCKED : IDLE;
}

/* Answer and send for as long as something moves. */
static enum state advance(struct connection *c)
{
    for (;;) {
        enum state state = flush(c);
        if (state == IDLE && c->tokens && !c->held)
            state = stream(c);
        if (state != IDLE || c->held)
            return state;
        size_t before = c->in_used;
        if (c->out_end == 0)
            take_all(c);
        if (c->out_end == 0 && c->tokens == 0 && c->in_used == before)
            return c->closing ? LOST : IDLE;
    }
}

/* Read once. Returns 1 when something came, 0 when nothing did, -1 when it is over. */
static int receive(struct connection *c)
{
    if (c->in_used == c->in_cap)
        return 0;
    ssize_t got = recv(c->fd, c->in + c->in_used, c->in_cap - c->in_used, 0);
    if (got == 0)
        return -1;
    if (got < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -1;
    c->in_used += (size_t)got;
    return 1;
}

static void watch(struct connection *c, int operation, uint32_t interest)
{
    struct epoll_event event = {.events = interest, .data.ptr = c};
    if (c->interest == interest)
        return;
    if (epoll_ctl(poller, operation, c->fd, &event) < 0)
        fail("epoll_ctl");
    c->interest = interest;
}

static void drop(struct connection *c)
{
    for (long i = 0; c->held && i < held_count; i++)
        if (held[i] == c)
            held[i--] = held[--held_count];
    close(c->fd);
    free(c->in);
    free(c->out);
    free(c);
    connection_count--;
}

static void settle(struct connection *c, enum state state)
{
    if (state == LOST)
        drop(c);
    else
        watch(c, EPOLL_CTL_MOD, state == BLOCKED ? EPOLLOUT : EPOLLIN);
}

/* Answer all that wait for one another, if enough do. */
static void release(void)
{
    while (held_count && held_count >= held_until) {
        struct connection *all[MAX_HELD];
        long count = held_count;
        memcpy(all, held, sizeof all);
        held_count = 0;
        for (long i = 0; i < count; i++) {
            all[i]->held = 0;
            if (all[i]->tokens == 0)
                queue(all[i], call_reply.data, call_reply.size);
        }
        for (long i = 0; i < count; i++)
            settle(all[i], advance(all[i]));
    }
}

static void serve(struct connection *c, uint32_t ready, int hot)
{
    int got = 0;
    /* A peer that hung up may have left a request behind it, so that is read first. */
    if (ready & ~(uint32_t)EPOLLOUT)
        got = receive(c);
    enum state state = got < 0 ? LOST : advance(c);
    for (int try = 0; hot && state == IDLE && try < HOT_TRIES; try++)
        if ((got = receive(c)) != 0)
            state = got < 0 ? LOST : advance(c);
    settle(c, state);
}

static void welcome(int listener)
{
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        /* Refused for a Unix socket, which has nothing to delay. */
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct connection *c = allocate(NULL, sizeof *c);
        *c = (struct connection){.fd = fd, .in = allocate(NULL, IN_BYTES), .in_cap = IN_BYTES};
        connection_count++;
        accepted_count++;
        watch(c, EPOLL_CTL_ADD, EPOLLIN);
    }
    if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR && errno != ECONNABORTED)
        fail("accept");
}

static int listen_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        fprintf(stderr, "httpd: the socket path is too long: %s\n", path);
        exit(1);
    }
    strcpy(address.sun_path, path);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (listener < 0)
        fail("socket");
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0)
        fail(path);
    if (listen(listener, BACKLOG) < 0)
        fail("listen");
    return listener;
}

static int listen_loopback(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (listener < 0)
        fail("socket");
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0)
        fail("loopback");
    if (listen(listener, BACKLOG) < 0)
        fail("listen");
    if (getsockname(listener, (struct sockaddr *)&address, &size) < 0)
        fail("getsockname");
    *port = ntohs(address.sin_port);
    return listener;
}

/* What is no connection is told apart by these. */
static int listeners[2];
static char input;

static void add(int fd, void *mark)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = mark};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0)
        fail("epoll_ctl");
}

/* A thousand streams are a thousand descriptors. */
static void allow_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    int spin = argc > 2 && strcmp(argv[2], "spin") == 0, port = 0;
    if (argc < 2 || argc > 3 + spin) {
        fprintf(stderr, "usage: httpd SOCKET [spin] [FOLDER]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    allow_descriptors();
    prepare();
    if (argc == 3 + spin)
        load(argv[2 + spin]);
    poller = epoll_create1(0);
    if (poller < 0)
        fail("epoll_create");
    listeners[0] = listen_unix(argv[1]);
    listeners[1] = listen_loopback(&port);
    add(listeners[0], &listeners[0]);
    add(listeners[1], &listeners[1]);
    add(STDIN_FILENO, &input);
    printf("ready %d\n", port);
    fflush(stdout);

    static struct epoll_event found[BATCH];
    for (;;) {
        int count = epoll_wait(poller, found, BATCH, spin ? 0 : -1);
        if (count < 0 && errno != EINTR)
            fail("epoll_wait");
        steady_sent = steady_waits = 0;
        for (int i = 0; i < count; i++) {
            void *mark = found[i].data.ptr;
            char byte;
            if (mark == &input) {
                if (read(STDIN_FILENO, &byte, 1) <= 0)
                    return 0;
            } else if (mark == &listeners[0] || mark == &listeners[1]) {
                welcome(*(int *)mark);
            } else {
                serve(mark, found[i].events, spin && connection_count == 1);
            }
        }
        release();
        /* On a core that it shares it leaves readers the time to read. */
        if (!spin && steady_waits && !steady_sent)
            nanosleep(&(struct timespec){.tv_nsec = 100 * 1000}, NULL);
    }
}
