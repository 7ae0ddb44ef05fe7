// A mock engine that speaks enough of the OpenAI API to measure what stands in front of it: one thread, epoll,
// HTTP/1.1 keep-alive, a few microseconds a request.
//
//   mock_engine [PORT]          (default 18730, on 127.0.0.1)
//
// The request decides how it behaves, by the model name or by the same text as [[marker]] in the prompt. The marker
// wins, so that a gateway which renames models or rewrites paths is measured all the same:
//
//   m-d<ms>                      one JSON answer after <ms>
//   m-n<chunks>-g<gap ms>-d<ms>  with "stream": true: <chunks> SSE events, <gap ms> apart, the first after <ms>
//   m-n<chunks>-l1               with "stream": true: lockstep. The head and the first event leave together, every further
//                                event when a datagram comes to the UDP port of the same number (the client has the one
//                                before), the last with the end. What arrives together is then always the same.
//
// Every SSE event carries in its content the CLOCK_MONOTONIC nanosecond at which it was sent, so a client on the same
// machine reads the exact one-way delay. Digits are written as the letters a-j: a rail that looks for card or phone
// numbers must find none. One event is one write. Every GET answers a small JSON (models, health, server info).
#define _GNU_SOURCE
#include <arpa/inet.h>
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
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNECTIONS 8192
#define REQUEST_BYTES (256 * 1024)
#define NS_PER_MS 1000000ull

#define EVENT_HEAD                                                                                             \
    "data: {\"id\":\"chatcmpl-mock0123456789abcdef\",\"object\":\"chat.completion.chunk\","                    \
    "\"created\":1760000000,\"model\":\"mock-model\",\"system_fingerprint\":\"fp_mock\",\"choices\":["

static const char CHAT_ANSWER[] =
    "{\"id\":\"chatcmpl-mock0123456789abcdef\",\"object\":\"chat.completion\",\"created\":1760000000,"
    "\"model\":\"mock-model\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"
    "\"The quick brown fox jumps over the lazy dog and keeps running through the forest until the evening light "
    "fades away behind the hills.\"},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":25,"
    "\"completion_tokens\":30,\"total_tokens\":55},\"system_fingerprint\":\"fp_mock\"}";
static const char MODEL_LIST[] =
    "{\"object\":\"list\",\"data\":["
    "{\"id\":\"m-d0\",\"object\":\"model\",\"created\":1,\"owned_by\":\"mock\"},"
    "{\"id\":\"m-d50\",\"object\":\"model\",\"created\":1,\"owned_by\":\"mock\"},"
    "{\"id\":\"m-n100-g0\",\"object\":\"model\",\"created\":1,\"owned_by\":\"mock\"},"
    "{\"id\":\"m-n100-g20\",\"object\":\"model\",\"created\":1,\"owned_by\":\"mock\"}]}";
static const char SERVER_INFO[] =
    "{\"model_path\":\"mock\",\"model_id\":\"mock\",\"is_generation\":true,\"dp_size\":1}";
static const char STREAM_HEAD[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
    "Transfer-Encoding: chunked\r\n\r\n";

typedef enum { IDLE, DELAYED, STREAMING, LOCKSTEP } State;

typedef struct {
    int fd;
    State state;
    char *in; // what was received and not yet answered
    int in_used;
    char *out; // what the socket would not take yet: [out_sent, out_used)
    int out_used, out_sent, out_size;
    uint64_t due;  // when the next event or the delayed answer leaves
    int heap_slot; // -1: not in the heap
    // what the request in flight asked for
    int stream, want_usage, events, events_sent, gap_ms, delay_ms, lockstep;
} Connection;

static Connection *connections[MAX_CONNECTIONS]; // by file descriptor
static Connection *heap[MAX_CONNECTIONS];        // binary heap, the earliest `due` first
static int heap_used;
static int epoll_fd;

static int answer_next(Connection *c);

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

// ---- the timer heap ----

static void heap_place(int slot, Connection *c) {
    heap[slot] = c;
    c->heap_slot = slot;
}

static void heap_up(int slot) {
    Connection *c = heap[slot];
    while (slot > 0 && heap[(slot - 1) / 2]->due > c->due) {
        heap_place(slot, heap[(slot - 1) / 2]);
        slot = (slot - 1) / 2;
    }
    heap_place(slot, c);
}

static void heap_down(int slot) {
    Connection *c = heap[slot];
    for (;;) {
        int child = 2 * slot + 1;
        if (child >= heap_used) break;
        if (child + 1 < heap_used && heap[child + 1]->due < heap[child]->due) child++;
        if (heap[child]->due >= c->due) break;
        heap_place(slot, heap[child]);
        slot = child;
    }
    heap_place(slot, c);
}

static int wake_at(Connection *c, uint64_t due) {
    c->due = due;
    heap_place(heap_used++, c);
    heap_up(heap_used - 1);
    return 0;
}

static void heap_remove(Connection *c) {
    int slot = c->heap_slot;
    if (slot < 0) return;
    Connection *last = heap[--heap_used];
    c->heap_slot = -1;
    if (last == c) return;
    heap_place(slot, last);
    heap_up(slot);
    heap_down(last->heap_slot);
}

// ---- writing ----

static void watch(Connection *c, uint32_t events, int operation) {
    struct epoll_event e = {.events = events, .data.fd = c->fd};
    epoll_ctl(epoll_fd, operation, c->fd, &e);
}

// Send now what the socket takes and keep the rest. -1: the connection is broken.
static int write_all(Connection *c, const char *data, int size) {
    if (c->out_used == c->out_sent) {
        int sent = (int)send(c->fd, data, (size_t)size, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) return -1;
        if (sent < 0) sent = 0;
        if (sent == size) return 0;
        data += sent;
        size -= sent;
        c->out_used = c->out_sent = 0;
    }
    if (c->out_used + size > c->out_size) {
        c->out_size = (c->out_used + size) * 2;
        c->out = realloc(c->out, (size_t)c->out_size);
    }
    memcpy(c->out + c->out_used, data, (size_t)size);
    c->out_used += size;
    watch(c, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
    return 0;
}

static void write_rest(Connection *c) {
    while (c->out_sent < c->out_used) {
        int sent = (int)send(c->fd, c->out + c->out_sent, (size_t)(c->out_used - c->out_sent), MSG_NOSIGNAL);
        if (sent < 0) return; // full again, or broken: then the read side says so
        c->out_sent += sent;
    }
    c->out_used = c->out_sent = 0;
    watch(c, EPOLLIN, EPOLL_CTL_MOD);
}

static int write_json(Connection *c, const char *body) {
    char reply[4096];
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s";
    return write_all(c, reply, snprintf(reply, sizeof reply, head, strlen(body), body));
}

// One SSE event as one HTTP chunk in one write.
static int write_event(Connection *c, const char *event, int size) {
    char chunk[2048];
    int used = snprintf(chunk, sizeof chunk, "%x\r\n", size);
    memcpy(chunk + used, event, (size_t)size);
    memcpy(chunk + used + size, "\r\n", 2);
    return write_all(c, chunk, used + size + 2);
}

// The number in letters, a = 0 ... j = 9. `text` holds at least 24 bytes.
static void spell(uint64_t number, char *text) {
    char reversed[24];
    int size = 0;
    do reversed[size++] = (char)('a' + number % 10);
    while (number /= 10);
    for (int i = 0; i < size; i++) text[i] = reversed[size - 1 - i];
    text[size] = 0;
}

static int write_delta(Connection *c) {
    char event[1024], stamp[24];
    spell(now_ns(), stamp);
    int size = snprintf(event, sizeof event,
                        EVENT_HEAD "{\"index\":0,\"delta\":{%s\"content\":\"T%s \"},\"logprobs\":null,"
                                   "\"finish_reason\":null}]}\n\n",
                        c->events_sent == 0 ? "\"role\":\"assistant\"," : "", stamp);
    c->events_sent++;
    return write_event(c, event, size);
}

static int write_stream_end(Connection *c) {
    char event[1024];
    int size = snprintf(event, sizeof event,
                        EVENT_HEAD "{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}]}\n\n");
    if (write_event(c, event, size) < 0) return -1;
    if (c->want_usage) {
        size = snprintf(event, sizeof event,
                        EVENT_HEAD "],\"usage\":{\"prompt_tokens\":25,\"completion_tokens\":%d,"
                                   "\"total_tokens\":%d}}\n\n", c->events, c->events + 25);
        if (write_event(c, event, size) < 0) return -1;
    }
    if (write_event(c, "data: [DONE]\n\n", 14) < 0) return -1;
    return write_all(c, "0\r\n\r\n", 5);
}

// ---- answering ----

// Whether the kernel keeps what is written until it is told to send, as one segment.
static void hold_back(Connection *c, int on) {
    setsockopt(c->fd, IPPROTO_TCP, TCP_CORK, &on, sizeof on);
}

static int finish(Connection *c) {
    c->state = IDLE;
    return answer_next(c); // a pipelined request may be waiting
}

// The delay is over: the JSON answer, the whole stream (no gap), or its head and a timer for the events.
static int begin_answer(Connection *c) {
    if (!c->stream) return write_json(c, CHAT_ANSWER) < 0 ? -1 : finish(c);
    if (c->lockstep) hold_back(c, 1);
    if (write_all(c, STREAM_HEAD, sizeof STREAM_HEAD - 1) < 0) return -1;
    c->events_sent = 0;
    if (c->lockstep) {
        if (write_delta(c) < 0) return -1;
        hold_back(c, 0);
        c->state = LOCKSTEP;
        return 0;
    }
    if (c->gap_ms > 0) {
        c->state = STREAMING;
        return wake_at(c, now_ns());
    }
    while (c->events_sent < c->events)
        if (write_delta(c) < 0) return -1;
    return write_stream_end(c) < 0 ? -1 : finish(c);
}

static int continue_stream(Connection *c) {
    if (write_delta(c) < 0) return -1;
    if (c->events_sent < c->events) return wake_at(c, c->due + (uint64_t)c->gap_ms * NS_PER_MS);
    return write_stream_end(c) < 0 ? -1 : finish(c);
}

static int step(Connection *c) {
    int last = c->events_sent + 1 >= c->events;
    if (last) hold_back(c, 1);
    if (write_delta(c) < 0) return -1;
    if (!last) return 0;
    if (write_stream_end(c) < 0) return -1;
    hold_back(c, 0);
    return finish(c);
}

// ---- reading ----

// The number after "-<letter>" in [text, end), 0 where there is none.
static int number_after(const char *text, const char *end, char letter) {
    for (; text < end - 1; text++)
        if (text[0] == '-' && text[1] == letter) return atoi(text + 2);
    return 0;
}

static void read_behaviour(Connection *c, const char *body, const char *end) {
    c->stream = c->want_usage = c->events = c->gap_ms = c->delay_ms = c->lockstep = 0;
    const char *name = memmem(body, (size_t)(end - body), "[[m-", 4), *name_end = NULL;
    if (name) {
        name_end = memchr(name, ']', (size_t)(end - name));
    } else if ((name = memmem(body, (size_t)(end - body), "\"model\"", 7))) {
        name += 7;
        while (name < end && *name != '"') name++;
        if (++name < end) name_end = memchr(name, '"', (size_t)(end - name));
    }
    if (name_end) {
        c->delay_ms = number_after(name, name_end, 'd');
        c->events = number_after(name, name_end, 'n');
        c->gap_ms = number_after(name, name_end, 'g');
        c->lockstep = number_after(name, name_end, 'l');
    }
    const char *stream = memmem(body, (size_t)(end - body), "\"stream\"", 8);
    if (stream) {
        stream += 8;
        while (stream < end && (*stream == ':' || *stream == ' ')) stream++;
        c->stream = stream < end && *stream == 't';
    }
    c->want_usage = memmem(body, (size_t)(end - body), "include_usage", 13) != NULL;
    if (c->stream && c->events == 0) c->events = 10;
}

// Length of the first whole request in c->in, 0 while it is incomplete; sets where its body lies.
static int request_length(Connection *c, const char **body, const char **body_end) {
    const char *head_end = memmem(c->in, (size_t)c->in_used, "\r\n\r\n", 4);
    if (!head_end) return 0;
    long length = 0;
    int chunked = 0;
    for (const char *line = c->in, *next; line < head_end; line = next + 2) {
        next = memmem(line, (size_t)(head_end - line + 2), "\r\n", 2);
        if (!strncasecmp(line, "content-length:", 15)) length = atol(line + 15);
        if (!strncasecmp(line, "transfer-encoding: chunked", 26)) chunked = 1;
    }
    *body = head_end + 4;
    long received = c->in_used - (*body - c->in);
    if (chunked) { // searched as text inside its chunks: none of our bodies holds the end mark
        *body_end = memmem(*body, (size_t)received, "0\r\n\r\n", 5);
        return *body_end ? (int)(*body_end + 5 - c->in) : 0;
    }
    *body_end = *body + length;
    return received < length ? 0 : (int)(*body_end - c->in);
}

static int answer_get(Connection *c, const char *path) {
    const char *body = strstr(path, "models") ? MODEL_LIST : strstr(path, "info") ? SERVER_INFO : "{\"status\":\"ok\"}";
    return write_json(c, body) < 0 ? -1 : finish(c);
}

static int answer_next(Connection *c) {
    const char *body, *body_end;
    if (c->state != IDLE || c->in_used == 0) return 0;
    c->in[c->in_used] = 0;
    int total = request_length(c, &body, &body_end);
    if (total == 0) return c->in_used == REQUEST_BYTES ? -1 : 0; // larger than the rig ever sends
    int is_get = !memcmp(c->in, "GET ", 4);
    char path[64] = "";
    if (is_get) sscanf(c->in, "%*s %63s", path);
    else read_behaviour(c, body, body_end);
    memmove(c->in, c->in + total, (size_t)(c->in_used - total));
    c->in_used -= total;
    if (is_get) return answer_get(c, path);
    if (c->delay_ms == 0) return begin_answer(c);
    c->state = DELAYED;
    return wake_at(c, now_ns() + (uint64_t)c->delay_ms * NS_PER_MS);
}

// ---- the loop ----

static void close_connection(Connection *c) {
    heap_remove(c);
    close(c->fd); // leaves the epoll set with it
    connections[c->fd] = NULL;
    free(c->in);
    free(c->out);
    free(c);
}

static void accept_all(int listener) {
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= MAX_CONNECTIONS) exit(fprintf(stderr, "mock_engine: too many connections\n"));
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        Connection *c = calloc(1, sizeof *c);
        c->fd = fd;
        c->heap_slot = -1;
        c->in = malloc(REQUEST_BYTES + 1);
        connections[fd] = c;
        watch(c, EPOLLIN, EPOLL_CTL_ADD);
    }
}

static void serve_socket(Connection *c, uint32_t events) {
    if (events & EPOLLOUT) write_rest(c);
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    int received = (int)recv(c->fd, c->in + c->in_used, (size_t)(REQUEST_BYTES - c->in_used), 0);
    if (received < 0 && errno == EAGAIN) return;
    if (received > 0) c->in_used += received;
    if (received <= 0 || answer_next(c) < 0) close_connection(c);
}

static void serve_timers(void) {
    uint64_t now = now_ns();
    while (heap_used && heap[0]->due <= now) {
        Connection *c = heap[0];
        heap_remove(c);
        if ((c->state == DELAYED ? begin_answer(c) : continue_stream(c)) < 0) close_connection(c);
    }
}

static void serve_datagrams(int next) {
    char datagram[16];
    while (recv(next, datagram, sizeof datagram, 0) >= 0)
        for (int fd = 0; fd < MAX_CONNECTIONS; fd++) {
            Connection *c = connections[fd];
            if (c && c->state == LOCKSTEP && step(c) < 0) close_connection(c);
        }
}

static int wait_ms(void) {
    if (!heap_used) return -1;
    uint64_t now = now_ns(), due = heap[0]->due;
    return due <= now ? 0 : (int)((due - now + NS_PER_MS - 1) / NS_PER_MS);
}

int main(int count, char **arguments) {
    int port = count > 1 ? atoi(arguments[1]) : 18730, on = 1;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) {
        perror("mock_engine: cannot listen");
        return 1;
    }
    int next = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    if (bind(next, (struct sockaddr *)&address, sizeof address)) {
        perror("mock_engine: cannot receive datagrams");
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    epoll_fd = epoll_create1(0);
    struct epoll_event listening = {.events = EPOLLIN, .data.fd = listener}, events[512];
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &listening);
    listening.data.fd = next;
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, next, &listening);
    for (;;) {
        int ready = epoll_wait(epoll_fd, events, 512, wait_ms());
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) accept_all(listener);
            else if (fd == next) serve_datagrams(next);
            else if (connections[fd]) serve_socket(connections[fd], events[i].events);
        }
        serve_timers();
    }
}
