// What the programs are measured against, as small as it can be. No header is needed: the few
// declarations are here.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

enum { XDP_DROP = 1, XDP_PASS = 2, XDP_TX = 3 };
enum { MAP_HASH = 1, MAP_ARRAY = 2, MAP_PROG_ARRAY = 3, MAP_LRU_HASH = 9 };
enum { TCP = 6, AF_INET6 = 10 };

struct xdp_md {
	u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex;
};

static void *(*const map_lookup)(void *map, const void *key) = (void *)1;
static long (*const map_update)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*const tail_call)(void *ctx, void *map, u32 index) = (void *)12;
static long (*const fib_lookup)(void *ctx, void *fib, int size, u32 flags) = (void *)69;

#define SECTION(name) __attribute__((section(name), used))
#define MAP(name, kind, key_type, value_type, entries)                                             \
	struct {                                                                                   \
		int(*type)[kind];                                                                  \
		key_type *key;                                                                     \
		value_type *value;                                                                 \
		int(*max_entries)[entries];                                                        \
	} name SECTION(".maps")

// Where fields are in a frame of Ethernet, IPv6 and TCP. Words are read whole, wherever they lie.
enum {
	TO = 0, FROM = 6, ETHERTYPE = 12, HEADER = 14, NEXT_HEADER = 20, HOP_LIMIT = 21, SOURCE = 22,
	DESTINATION = 38, PORTS = 54, UDP_CHECKSUM = 60, CHECKSUM = 70, WHOLE = 80,
};
#define AT(type, frame, offset) (*(type *)((frame) + (offset)))

struct image {
	u64 words[WHOLE / 8];
};

struct flow {
	u64 source[2], destination[2];
	u32 ports, protocol;
};

struct translation {
	u64 destination[2], ethernet;
	u32 ethernet_rest, delta;
};

// As large as the value of a pinned flow.
struct pin {
	u64 words[10];
};

// `struct bpf_fib_lookup`
struct fib {
	u8 family, protocol;
	u16 source_port, destination_port, length;
	u32 ifindex, flow;
	u64 source[2], destination[2];
	u32 vlan;
	u8 from[6], to[6];
};

// The loader makes it as large as that of pinned flows for the programs that use it.
MAP(pins, MAP_LRU_HASH, struct flow, struct pin, 64);
MAP(flows, MAP_HASH, struct flow, struct translation, 65536);
MAP(pristine, MAP_ARRAY, u32, struct image, 1);
MAP(walk, MAP_ARRAY, u32, u32, 1);
MAP(next, MAP_PROG_ARRAY, u32, u32, 1);

#define INLINE static inline __attribute__((always_inline))

// The frame, when all of it is there.
INLINE void *whole(struct xdp_md *ctx)
{
	void *frame = (void *)(long)ctx->data;

	return frame + WHOLE > (void *)(long)ctx->data_end ? 0 : frame;
}

INLINE struct flow flow_of(void *frame)
{
	struct flow flow = {
		{ AT(u64, frame, SOURCE), AT(u64, frame, SOURCE + 8) },
		{ AT(u64, frame, DESTINATION), AT(u64, frame, DESTINATION + 8) },
		AT(u32, frame, PORTS),
		TCP,
	};

	return flow;
}

INLINE struct translation *find(void *frame)
{
	struct flow flow = flow_of(frame);

	return map_lookup(&flows, &flow);
}

SECTION("xdp.frags") int pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

// A hash lookup by the 40 octets of a flow, and nothing else.
SECTION("xdp.frags") int lookup(struct xdp_md *ctx)
{
	void *frame = whole(ctx);

	return frame && find(frame) ? XDP_PASS : XDP_DROP;
}

// NAT66 of TCP: one lookup finds the other address, the next hop and what both do to the checksum.
SECTION("xdp.frags") int tight(struct xdp_md *ctx)
{
	void *frame = whole(ctx);
	struct translation *found;
	u32 sum;

	if (!frame || AT(u16, frame, ETHERTYPE) != 0xdd86 || AT(u8, frame, NEXT_HEADER) != TCP)
		return XDP_PASS;
	found = find(frame);
	if (!found)
		return XDP_DROP;
	AT(u64, frame, DESTINATION) = found->destination[0];
	AT(u64, frame, DESTINATION + 8) = found->destination[1];
	sum = (u16)~AT(u16, frame, CHECKSUM) + found->delta;
	sum = (sum & 0xffff) + (sum >> 16);
	AT(u16, frame, CHECKSUM) = ~sum;
	AT(u8, frame, HOP_LIMIT)--;
	AT(u64, frame, TO) = found->ethernet;
	AT(u32, frame, TO + 8) = found->ethernet_rest;
	return XDP_TX;
}

// What no program that pins flows can do without: the insert itself.
SECTION("xdp.frags") int lru_insert(struct xdp_md *ctx)
{
	void *frame = whole(ctx);
	struct pin pin = {};

	if (!frame)
		return XDP_DROP;
	struct flow flow = flow_of(frame);
	return map_update(&pins, &flow, &pin, 0) ? XDP_DROP : XDP_PASS;
}

// Whether the FIB knows the way to the destination, and the neighbour.
INLINE int has_way(struct xdp_md *ctx, void *frame)
{
	struct fib fib = {
		.family = AF_INET6,
		.protocol = TCP,
		.source_port = AT(u16, frame, PORTS),
		.destination_port = AT(u16, frame, PORTS + 2),
		.length = 60,
		.ifindex = ctx->ingress_ifindex,
		.source = { AT(u64, frame, SOURCE), AT(u64, frame, SOURCE + 8) },
		.destination = { AT(u64, frame, DESTINATION), AT(u64, frame, DESTINATION + 8) },
	};

	return fib_lookup(ctx, &fib, sizeof(fib), 0) == 0;
}

SECTION("xdp.frags") int fib(struct xdp_md *ctx)
{
	void *frame = whole(ctx);

	return frame && has_way(ctx, frame) ? XDP_PASS : XDP_DROP;
}

// The flow is looked up, which fails, and pinned.
SECTION("xdp.frags") int lru_lookup_insert(struct xdp_md *ctx)
{
	void *frame = whole(ctx);
	struct pin pin = {};

	if (!frame)
		return XDP_DROP;
	struct flow flow = flow_of(frame);
	if (map_lookup(&pins, &flow))
		return XDP_PASS;
	return map_update(&pins, &flow, &pin, 0) ? XDP_DROP : XDP_PASS;
}

// The same, and the FIB is asked.
SECTION("xdp.frags") int lru_lookup_insert_fib(struct xdp_md *ctx)
{
	void *frame = whole(ctx);
	struct pin pin = {};

	if (!frame)
		return XDP_DROP;
	struct flow flow = flow_of(frame);
	if (!map_lookup(&pins, &flow) && map_update(&pins, &flow, &pin, 0))
		return XDP_DROP;
	return has_way(ctx, frame) ? XDP_PASS : XDP_DROP;
}

#define RESTORE(type, offset) AT(type, frame, offset) = AT(type, first, offset)

// BPF_PROG_TEST_RUN gives the next run the frame that the last one left. These make it what it was,
// with other ports, and hand it to the program that is measured. They store what programs load: a
// load that needs two stores waits for both.
INLINE int again(struct xdp_md *ctx, u32 mask)
{
	u32 zero = 0;
	void *frame = whole(ctx);
	void *first = map_lookup(&pristine, &zero);
	u32 *state = map_lookup(&walk, &zero);

	if (!frame || !first || !state)
		return XDP_DROP;
	RESTORE(u64, TO);
	RESTORE(u32, TO + 8);
	RESTORE(u64, HEADER);
	RESTORE(u64, SOURCE);
	RESTORE(u64, SOURCE + 8);
	RESTORE(u64, DESTINATION);
	RESTORE(u64, DESTINATION + 8);
	// In the middle of the sequence number of TCP, which is always the same.
	RESTORE(u16, UDP_CHECKSUM);
	RESTORE(u16, CHECKSUM);
	// All values of 32 bits in turn; the upper bits of a power-of-two generator are the good ones.
	*state = *state * 1664525 + 1013904223;
	AT(u32, frame, PORTS) = AT(u32, first, PORTS) ^ ((*state >> 16 | *state << 16) & mask);
	tail_call(ctx, &next, 0);
	return XDP_DROP;
}

SECTION("xdp.frags") int one_flow(struct xdp_md *ctx)
{
	return again(ctx, 0);
}

// 32,768 flows: the client's port is the first half.
SECTION("xdp.frags") int many_flows(struct xdp_md *ctx)
{
	return again(ctx, 0xff7f);
}

SECTION("xdp.frags") int new_flows(struct xdp_md *ctx)
{
	return again(ctx, 0xffffffff);
}

// Reports of which no two have the same source. What two words of the address add to the checksum is
// the same for all.
SECTION("xdp.frags") int forged_senders(struct xdp_md *ctx)
{
	u32 zero = 0;
	void *frame = whole(ctx);
	u32 *state = map_lookup(&walk, &zero);

	if (!frame || !state)
		return XDP_DROP;
	*state = *state * 1664525 + 1013904223;
	AT(u32, frame, SOURCE + 8) = *state;
	AT(u32, frame, SOURCE + 12) = ~*state;
	tail_call(ctx, &next, 0);
	return XDP_DROP;
}

char terms[] SECTION("license") = "GPL";
