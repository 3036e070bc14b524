/* tunnels: loads a CONNECT proxy. One epoll thread; prints one line of figures.
 * usage: tunnels MODE PROXY_IP PROXY_PORT TARGET_HOST TARGET_PORT [-c conns] [-s secs] [-n bytes]
 *                [-H 'Header: v'] [-f first-bytes-file] [-A file]  (PROXY_PORT 0: straight to the target, an IP)
 *   -A: each line of the file is "SOURCE_IP Header: v" ("-": no source); connections take the lines in turn
 *   MODE rate: open a tunnel, ask n bytes (512), close; again.  tunnels/s and set-up latency
 *        rtt:  keep c tunnels, ask n bytes (64) again and again. requests/s and latency
 *        down / up: keep c tunnels, move n bytes a turn (64 MiB). bytes/s
 *        idle: open c tunnels, hold for s seconds; says "all open" on standard error once they are.
 */
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
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
enum { CONNECTING, HEAD, BODY, SENDING, ACK };
static char big[262144];
static int mode, conns = 64, proxy_port; static double secs = 5; static uint64_t n; static int n_set;
static struct sockaddr_in dst; static char creq[4096]; static int creq_len; static char first[8192]; static int first_len;
static int ep; struct who { struct in_addr source; char *header; };
struct conn { int fd, state, hl; struct who *who; char head[2048]; uint64_t left; double t0; };
static struct who *whos; static size_t nwho, turn;
static uint64_t done, failed, bytes; static double *lat; static size_t nlat, caplat;
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9; }
static void note(double v) { if (nlat == caplat) { caplat = caplat ? caplat * 2 : 65536; lat = realloc(lat, caplat * sizeof *lat); } lat[nlat++] = v; }
static int cmp(const void *a, const void *b) { double x = *(double *)a, y = *(double *)b; return x < y ? -1 : x > y; }
static void watch(struct conn *c, int op, int what) { struct epoll_event e = {.events = what, .data.ptr = c}; epoll_ctl(ep, op, c->fd, &e); }
static void start(struct conn *c) {
  int one = 1; c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  c->state = CONNECTING; c->hl = 0; c->t0 = now(); c->who = nwho ? &whos[turn++ % nwho] : NULL;
  if (c->who && c->who->source.s_addr) {
    struct sockaddr_in me = {.sin_family = AF_INET, .sin_addr = c->who->source};
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(c->fd, (void *)&me, sizeof me)) { perror("bind"); exit(1); }
  }
  if (connect(c->fd, (void *)&dst, sizeof dst) && errno != EINPROGRESS) { perror("connect"); exit(1); }
  watch(c, EPOLL_CTL_ADD, EPOLLOUT);
}
static int greet(struct conn *c) {
  char m[4096 + 1024]; int l = creq_len; memcpy(m, creq, l);
  if (c->who) { int h = strlen(c->who->header); memcpy(m + l, c->who->header, h); l += h; memcpy(m + l, "\r\n", 2); l += 2; }
  memcpy(m + l, "\r\n", 2); l += 2;
  return write(c->fd, m, l) == l;
}
static void read_whos(const char *path) {
  FILE *f = fopen(path, "r"); char line[1024]; size_t cap = 0;
  if (!f) { perror(path); exit(2); }
  while (fgets(line, sizeof line, f)) {
    char *header = strchr(line, ' '); line[strcspn(line, "\r\n")] = 0;
    if (!header) { fprintf(stderr, "%s: SOURCE_IP Header: v\n", path); exit(2); }
    *header++ = 0;
    if (nwho == cap) { cap = cap ? cap * 2 : 1024; whos = realloc(whos, cap * sizeof *whos); }
    whos[nwho] = (struct who){.header = strdup(header)};
    if (strcmp(line, "-") && inet_pton(AF_INET, line, &whos[nwho].source) != 1) { fprintf(stderr, "%s: no address: %s\n", path, line); exit(2); }
    nwho++;
  }
  fclose(f);
}
static void again(struct conn *c) { close(c->fd); start(c); }
static void ask(struct conn *c, int with_first) {
  char m[8192 + 16]; int l = 0; if (with_first) { memcpy(m, first, first_len); l = first_len; }
  memcpy(m + l, "CMD1", 4); memset(m + l + 4, 0, 4); m[l + 4] = mode == 3 ? 'U' : 'R'; memcpy(m + l + 8, &n, 8); l += 16;
  if (write(c->fd, m, l) != l) { failed++; again(c); return; }
  if (mode == 3) { c->state = SENDING; c->left = n; watch(c, EPOLL_CTL_MOD, EPOLLOUT); }
  else { c->state = BODY; c->left = n; watch(c, EPOLL_CTL_MOD, EPOLLIN); }
}
static uint64_t open_now;
static void opened(struct conn *c) {
  if (mode == 4) { note(now() - c->t0); open_now++; done++; if (open_now == (uint64_t)conns) fprintf(stderr, "all open\n"); c->state = BODY; c->left = 1; watch(c, EPOLL_CTL_MOD, EPOLLIN); if (first_len) if (write(c->fd, first, first_len) < 0) failed++; return; }
  if (mode != 0) c->t0 = now();
  ask(c, 1);
}
static void turn_done(struct conn *c) {
  note(now() - c->t0); done++; bytes += n;
  if (mode == 0) again(c); else { c->t0 = now(); ask(c, 0); }
}
int main(int argc, char **argv) {
  signal(SIGPIPE, SIG_IGN);
  struct rlimit rl = {1048576, 1048576}; setrlimit(RLIMIT_NOFILE, &rl);
  if (argc < 6) { fprintf(stderr, "see the head of tunnels.c\n"); return 2; }
  const char *names[] = {"rate", "rtt", "down", "up", "idle"}; mode = -1;
  for (int i = 0; i < 5; i++) if (!strcmp(argv[1], names[i])) mode = i;
  if (mode < 0) return 2;
  char extra[2048] = ""; int o; optind = 6;
  while ((o = getopt(argc, argv, "c:s:n:H:f:A:")) != -1) switch (o) {
    case 'c': conns = atoi(optarg); break; case 's': secs = atof(optarg); break;
    case 'n': n = strtoull(optarg, 0, 0); n_set = 1; break;
    case 'H': strcat(extra, optarg); strcat(extra, "\r\n"); break;
    case 'f': { FILE *f = fopen(optarg, "rb"); if (!f) { perror(optarg); return 2; } first_len = fread(first, 1, sizeof first, f); fclose(f); break; }
    case 'A': read_whos(optarg); break;
    default: return 2; }
  if (!n_set) n = mode == 0 ? 512 : mode == 1 ? 64 : 64ull << 20;
  proxy_port = atoi(argv[3]);
  dst.sin_family = AF_INET; dst.sin_port = htons(proxy_port ? proxy_port : atoi(argv[5]));
  inet_pton(AF_INET, proxy_port ? argv[2] : argv[4], &dst.sin_addr);
  creq_len = snprintf(creq, sizeof creq, "CONNECT %s:%s HTTP/1.1\r\nHost: %s:%s\r\nUser-Agent: tunnels/1\r\n%s", argv[4], argv[5], argv[4], argv[5], extra);
  ep = epoll_create1(0);
  struct conn *cs = calloc(conns, sizeof *cs); double t0 = now(), end = t0 + secs; int started = 0;
  struct epoll_event evs[1024];
  for (; started < conns && started < 512; started++) start(&cs[started]);
  while (now() < end) {
    if (mode == 4) { while (started < conns && started < (int)(open_now + failed) + 512) start(&cs[started++]); }
    else while (started < conns) start(&cs[started++]);
    int k = epoll_wait(ep, evs, 1024, 100);
    for (int i = 0; i < k; i++) {
      struct conn *c = evs[i].data.ptr; int r;
      switch (c->state) {
      case CONNECTING: { int e = 0; socklen_t l = sizeof e; getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &l);
        if (e) { failed++; if (mode == 4) { close(c->fd); } else again(c); break; }
        if (!proxy_port) { opened(c); break; }
        if (!greet(c)) { failed++; again(c); break; }
        c->state = HEAD; watch(c, EPOLL_CTL_MOD, EPOLLIN); break; }
      case HEAD: r = read(c->fd, c->head + c->hl, sizeof c->head - 1 - c->hl);
        if (r <= 0) { if (r < 0 && errno == EAGAIN) break; failed++; if (mode == 4) close(c->fd); else again(c); break; }
        c->hl += r; c->head[c->hl] = 0;
        if (strstr(c->head, "\r\n\r\n")) { if (strncmp(c->head + 9, "200", 3)) { if (!failed) fprintf(stderr, "refused: %.60s\n", c->head); failed++; if (mode == 4) close(c->fd); else again(c); } else opened(c); }
        break;
      case BODY: r = read(c->fd, big, sizeof big);
        if (r <= 0) { if (r < 0 && errno == EAGAIN) break; failed++; if (mode == 4) close(c->fd); else again(c); break; }
        c->left -= r; if (mode == 2) bytes += 0; if (!c->left) turn_done(c); break;
      case SENDING: { ssize_t w = write(c->fd, big, c->left < sizeof big ? c->left : sizeof big);
        if (w < 0) { if (errno == EAGAIN) break; failed++; again(c); break; }
        if (!(c->left -= w)) { c->state = ACK; watch(c, EPOLL_CTL_MOD, EPOLLIN); } break; }
      case ACK: r = read(c->fd, big, 1); if (r <= 0) { failed++; again(c); } else turn_done(c); break; }
    }
  }
  double el = now() - t0; uint64_t part = 0; if (mode == 2 || mode == 3) for (int i = 0; i < conns; i++) if ((mode == 2 && cs[i].state == BODY) || (mode == 3 && cs[i].state == SENDING)) part += n - cs[i].left;
  qsort(lat, nlat, sizeof *lat, cmp);
  #define P(q) (nlat ? lat[(size_t)(q * (nlat - 1))] * 1e6 : 0)
  printf("%s c=%d secs=%.2f done=%lu per_s=%.0f MB_s=%.1f failed=%lu p50_us=%.0f p99_us=%.0f p999_us=%.0f open=%lu\n", argv[1], conns, el, done, done / el, (bytes + part) / el / 1e6, failed, P(.5), P(.99), P(.999), open_now);
  return failed > done / 100 + 10;
}
