// Makes frames, rewrites them as ours does but nothing else, and swallows them. No header is needed:
// the few declarations are here.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

enum { XDP_ABORTED = 0, XDP_DROP = 1, XDP_PASS = 2, TC_DROP = 2 };
enum { MAP_HASH = 1, MAP_ARRAY = 2, MAP_DEVMAP = 14 };
enum { UDP = 17 };

struct xdp_md {
	u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex;
};

static void *(*const map_lookup)(void *map, const void *key) = (void *)1;
static long (*const redirect)(u32 ifindex, u64 flags) = (void *)23;
static long (*const redirect_map)(void *map, u64 key, u64 flags) = (void *)51;

#define SECTION(name) __attribute__((section(name), used))
#define MAP(name, kind, key_type, value_type, entries)                                             \
	struct {                                                                                   \
		int(*type)[kind];                                                                  \
		key_type *key;                                                                     \
		value_type *value;                                                                 \
		int(*max_entries)[entries];                                                        \
	} name SECTION(".maps")

// Where fields are in a frame of Ethernet, IPv6 and UDP.
enum {
	TO = 0, ETHERTYPE = 12, NEXT_HEADER = 20, HOP_LIMIT = 21, SOURCE = 22, DESTINATION = 38,
	PORTS = 54, CHECKSUM = 60, WHOLE = 80,
};
#define AT(type, frame, offset) (*(type *)((frame) + (offset)))

struct image {
	u64 words[WHOLE / 8];
};

struct way {
	u32 ifindex, mask, next;
};

struct flow {
	u64 source[2], destination[2];
	u32 ports, protocol;
};

struct translation {
	u64 destination[2], ethernet;
	u32 ethernet_rest, delta;
};

MAP(image, MAP_ARRAY, u32, struct image, 1);
MAP(way, MAP_ARRAY, u32, struct way, 1);
MAP(swallowed, MAP_ARRAY, u32, u64, 1);
MAP(flows, MAP_HASH, struct flow, struct translation, 65536);
MAP(devices, MAP_DEVMAP, u32, u32, 1);

struct __sk_buff {
	u32 of_no_use[19], data, data_end;
};

static inline __attribute__((always_inline)) void *whole(struct xdp_md *ctx)
{
	void *frame = (void *)(long)ctx->data;

	return frame + WHOLE > (void *)(long)ctx->data_end ? 0 : frame;
}

// The pages of live frames come back as the receiver left them, so all of a frame is written.
SECTION("xdp") int source(struct xdp_md *ctx)
{
	u32 zero = 0, sum;
	u16 port;
	void *frame = whole(ctx);
	struct image *first = map_lookup(&image, &zero);
	struct way *to = map_lookup(&way, &zero);

	if (!frame || !first || !to)
		return XDP_ABORTED;
	for (int i = 0; i < WHOLE / 8; i++)
		AT(u64, frame, 8 * i) = first->words[i];
	// Another flow: the client's port, in network order, and the checksum with it.
	port = __builtin_bswap16(0x8000 | (to->next++ & to->mask));
	sum = (u16)~AT(u16, frame, CHECKSUM) + (u16)~AT(u16, frame, PORTS) + port;
	sum = (sum & 0xffff) + (sum >> 16);
	AT(u16, frame, CHECKSUM) = ~((sum & 0xffff) + (sum >> 16));
	AT(u16, frame, PORTS) = port;
	return redirect(to->ifindex, 0);
}

// NAT66 of UDP: one lookup finds the other address and what it does to the checksum; the next hop
// is known. Otherwise than 0: the XDP action.
static inline __attribute__((always_inline)) int translated(struct xdp_md *ctx)
{
	void *frame = whole(ctx);
	struct translation *found;
	u32 sum;

	if (!frame || AT(u16, frame, ETHERTYPE) != 0xdd86 || AT(u8, frame, NEXT_HEADER) != UDP)
		return XDP_PASS;
	struct flow flow = {
		{ AT(u64, frame, SOURCE), AT(u64, frame, SOURCE + 8) },
		{ AT(u64, frame, DESTINATION), AT(u64, frame, DESTINATION + 8) },
		AT(u32, frame, PORTS),
		UDP,
	};
	found = map_lookup(&flows, &flow);
	if (!found)
		return XDP_PASS;
	AT(u64, frame, DESTINATION) = found->destination[0];
	AT(u64, frame, DESTINATION + 8) = found->destination[1];
	sum = (u16)~AT(u16, frame, CHECKSUM) + found->delta;
	sum = (u16)~((sum & 0xffff) + (sum >> 16));
	AT(u16, frame, CHECKSUM) = sum ? sum : 0xffff;
	AT(u8, frame, HOP_LIMIT)--;
	AT(u64, frame, TO) = found->ethernet;
	AT(u32, frame, TO + 8) = found->ethernet_rest;
	return 0;
}

SECTION("xdp") int translate(struct xdp_md *ctx)
{
	int action = translated(ctx);

	return action ? action : redirect_map(&devices, 0, 0);
}

// The same without a devmap, as ours sends.
SECTION("xdp") int translate_redirect(struct xdp_md *ctx)
{
	u32 zero = 0;
	int action = translated(ctx);
	struct way *to;

	if (action)
		return action;
	to = map_lookup(&way, &zero);
	return to ? redirect(to->ifindex, 0) : XDP_ABORTED;
}

// Counts a frame that goes where `image` says.
static inline __attribute__((always_inline)) void swallow(void *frame, void *end)
{
	u32 zero = 0;
	u64 *count = map_lookup(&swallowed, &zero);
	void *wanted = map_lookup(&image, &zero);

	if (count && wanted && frame + WHOLE <= end &&
	    AT(u64, frame, DESTINATION) == AT(u64, wanted, DESTINATION) &&
	    AT(u64, frame, DESTINATION + 8) == AT(u64, wanted, DESTINATION + 8))
		__sync_fetch_and_add(count, 1);
}

SECTION("xdp") int sink(struct xdp_md *ctx)
{
	swallow((void *)(long)ctx->data, (void *)(long)ctx->data_end);
	return XDP_DROP;
}

SECTION("classifier") int sink_of_packets(struct __sk_buff *ctx)
{
	swallow((void *)(long)ctx->data, (void *)(long)ctx->data_end);
	return TC_DROP;
}

char terms[] SECTION("license") = "GPL";
