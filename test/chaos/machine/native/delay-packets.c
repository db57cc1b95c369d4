/*
 * delay-packets QUEUE MIN MAX: holds each packet of a netfilter queue for MIN to MAX ms, then lets it go. Plain netlink, so that
 * nothing but a compiler is needed. Packets overtake each other as the times fall.
 */
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HELD_MAX 16384

struct held {
  uint32_t id;
  int64_t due;
};

static struct held held[HELD_MAX];
static int held_count;
static int netlink;
static uint16_t queue;

static int64_t now_ms(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

static void send_message(int type, int attribute, const void *data, size_t size) {
  char bytes[256] = {0};
  struct nlmsghdr *header = (void *)bytes;
  header->nlmsg_type = (NFNL_SUBSYS_QUEUE << 8) | type;
  header->nlmsg_flags = NLM_F_REQUEST;
  struct nfgenmsg *family = NLMSG_DATA(header);
  family->version = NFNETLINK_V0;
  family->res_id = htons(queue);
  struct nlattr *first = (void *)((char *)family + NLMSG_ALIGN(sizeof *family));
  first->nla_type = attribute;
  first->nla_len = NLA_HDRLEN + size;
  memcpy((char *)first + NLA_HDRLEN, data, size);
  header->nlmsg_len = NLMSG_LENGTH(sizeof *family) + NLA_ALIGN(first->nla_len);
  if (send(netlink, bytes, header->nlmsg_len, 0) < 0) perror("delay-packets: send");
}

static void let_go(uint32_t id) {
  struct nfqnl_msg_verdict_hdr verdict = {htonl(NF_ACCEPT), id};
  send_message(NFQNL_MSG_VERDICT, NFQA_VERDICT_HDR, &verdict, sizeof verdict);
}

/* Lets go what is due; returns how long to wait for the next. */
static int let_due_go(void) {
  int64_t now = now_ms(), next = 1000;
  for (int at = 0; at < held_count;) {
    if (held[at].due <= now) {
      let_go(held[at].id);
      held[at] = held[--held_count];
    } else {
      if (held[at].due - now < next) next = held[at].due - now;
      at++;
    }
  }
  return (int)next;
}

static void hold(struct nlmsghdr *header, int least, int most) {
  struct nlattr *one = (void *)((char *)NLMSG_DATA(header) + NLMSG_ALIGN(sizeof(struct nfgenmsg)));
  int left = header->nlmsg_len - NLMSG_LENGTH(sizeof(struct nfgenmsg));
  while (left >= NLA_HDRLEN && one->nla_len >= NLA_HDRLEN && one->nla_len <= left) {
    if ((one->nla_type & NLA_TYPE_MASK) == NFQA_PACKET_HDR) {
      struct nfqnl_msg_packet_hdr *packet = (void *)((char *)one + NLA_HDRLEN);
      if (held_count == HELD_MAX) let_go(packet->packet_id);
      else held[held_count++] = (struct held){packet->packet_id, now_ms() + least + rand() % (most - least + 1)};
      return;
    }
    left -= NLA_ALIGN(one->nla_len);
    one = (void *)((char *)one + NLA_ALIGN(one->nla_len));
  }
}

int main(int count, char **arguments) {
  if (count != 4) return fprintf(stderr, "delay-packets QUEUE MIN MAX\n"), 2;
  queue = atoi(arguments[1]);
  int least = atoi(arguments[2]), most = atoi(arguments[3]);
  netlink = socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
  struct sockaddr_nl own = {.nl_family = AF_NETLINK};
  if (netlink < 0 || bind(netlink, (void *)&own, sizeof own) < 0) return perror("delay-packets"), 1;
  struct nfqnl_msg_config_cmd bind_queue = {.command = NFQNL_CFG_CMD_BIND, .pf = htons(AF_INET)};
  send_message(NFQNL_MSG_CONFIG, NFQA_CFG_CMD, &bind_queue, sizeof bind_queue);
  struct nfqnl_msg_config_params copy = {htonl(0), NFQNL_COPY_META};
  send_message(NFQNL_MSG_CONFIG, NFQA_CFG_PARAMS, &copy, sizeof copy);
  uint32_t length = htonl(HELD_MAX);
  send_message(NFQNL_MSG_CONFIG, NFQA_CFG_QUEUE_MAXLEN, &length, sizeof length);
  printf("ready\n");
  fflush(stdout);
  static char bytes[65536];
  for (;;) {
    struct pollfd waited = {netlink, POLLIN, 0};
    poll(&waited, 1, let_due_go());
    if (!(waited.revents & POLLIN)) continue;
    int size = recv(netlink, bytes, sizeof bytes, MSG_DONTWAIT);
    for (struct nlmsghdr *header = (void *)bytes; size > 0 && NLMSG_OK(header, (unsigned)size);
         header = NLMSG_NEXT(header, size))
      if (header->nlmsg_type == ((NFNL_SUBSYS_QUEUE << 8) | NFQNL_MSG_PACKET)) hold(header, least, most);
  }
}
