"""Which attack has which test: what will be tried against the gateway, class by class, and where it is tried here.

A test stands as FILE::FUNCTION, with [CASE] where one case of a table is meant. That each exists is checked
(test_attacks.py), so that a test renamed or taken away is missed. OPEN: what has no test yet, and what it waits for.
"""

_IN_FLOOD = "gateway/test_flood.py"
_IN_PROBES = "netns/test_probes.py"
_IN_RESOLVER = "gateway/test_resolver.py"
_IN_SPOOL = "telemetry/test_spool.py"
_IN_STRANGERS = "telemetry/test_strangers.py"
_IN_TRAPS_LIFETIME = "netns/test_traps_lifetime.py"
_IN_TRAPS_NEIGHBOUR = "netns/test_traps_neighbour.py"
_IN_WORKER = "gateway/test_worker.py"
_AUTHORITY = "gateway/test_session.py::test_an_authority_with"
_ODD_HOST = "whitelist/test_target.py::test_host_is_not_a_name_or_address_in_its_one_spelling"
_NAME = "whitelist/test_target.py::test_name_has_one_reading"
_SHAPE = "whitelist/test_target.py::test_authority_has_a_broken_shape"
_URI = "whitelist/test_target.py::test_absolute_uri_is_refused"
_CLASSIFIED = "whitelist/test_address.py::test_address_is_forbidden"
_ANSWER = "gateway/test_resolver.py::test_a_name_that_leads_to"
_LITERAL = "gateway/test_targets.py::test_a_literal_that_a_grant_covers_is_classified_all_the_same"
_ONE = "gateway/test_targets.py::test_what_was_decided_is_what_was_dialled_and_recorded"
_SMUGGLED = "gateway/test_smuggling.py::test_refused_as_malformed"
_HEAD = "gateway/test_session.py::test_a_head_with"
_HELLO = "gateway/test_session.py::test_behind_the_200_is_refused"
_PASSES = "gateway/test_session.py::test_a_hello_passes_unchanged"
_READ = "gateway/test_client_hello.py::test_refuses"
_SWEEP = "netns/test_keeper.py::test_a_sweep_repairs_and_reports_when"
_FLUSHED = "netns/test_traps_flush.py::test_it_is_repaired_and_meanwhile_nothing_leaves_elsewhere"
_LEAKS = "netns/test_leaks.py::test_no_packet_leaves_elsewhere_without"
_BESIDE = f"{_IN_FLOOD}::test_an_honest_client_is_served_beside"
_CUT = "gateway/test_enforce.py::test_a_tunnel_is_cut_when"

ATTACKS: dict[str, dict[str, tuple[str, ...]]] = {
    "addresses in disguise": {
        "127.1": (f"{_ODD_HOST}[a short address]", f"{_AUTHORITY}[loopback in short]"),
        "2130706433": (f"{_ODD_HOST}[one decimal number]", f"{_AUTHORITY}[loopback as a number]"),
        "0x7f000001": (f"{_ODD_HOST}[one hexadecimal number]", f"{_AUTHORITY}[loopback in hexadecimal]"),
        "0177.0.0.1": (f"{_ODD_HOST}[octal octets]", f"{_AUTHORITY}[loopback in octal]"),
        "127.0.0.01": (f"{_ODD_HOST}[a leading zero in the last octet]", f"{_AUTHORITY}[leading zero in an address]"),
        "0": (f"{_ODD_HOST}[zero]", f"{_AUTHORITY}[zero]"),
        "full-width digits": (f"{_ODD_HOST}[full-width digits]", _ONE),
        "ideographic dots": (f"{_ODD_HOST}[ideographic dots]", _ONE),
        "another script's digits": (f"{_ODD_HOST}[extended Arabic digits, which IDNA permits]",),
        "percent-encoding": (f"{_ODD_HOST}[percent-encoded digits]", f"{_AUTHORITY}[a percent sign]", _ONE),
        "any spelling that inet_aton or getaddrinfo takes": (
            "whitelist/test_target_properties.py::test_spelling_of_an_ipv4_address_is_canonical_or_refused",
            "whitelist/test_target_properties.py::test_accepted_name_is_no_address_to_the_c_library",
            "whitelist/test_target_properties.py::test_spelling_of_an_ipv6_address_is_canonical_or_refused",
        ),
        "::ffff:127.0.0.1": (f"{_CLASSIFIED}[mapped loopback]", _LITERAL, _ANSWER),
        "::ffff:0:127.0.0.1": (f"{_CLASSIFIED}[translated loopback]", _LITERAL, _ANSWER),
        "::7f00:1": (f"{_CLASSIFIED}[compatible loopback]", _LITERAL, _ANSWER),
        "64:ff9b::7f00:1": (f"{_CLASSIFIED}[NAT64 loopback]", _LITERAL, _ANSWER),
        "64:ff9b:1::a00:1": (f"{_CLASSIFIED}[local NAT64 private]", _LITERAL, _ANSWER),
        "2002:7f00:1::": (f"{_CLASSIFIED}[6to4 loopback]", _LITERAL, _ANSWER),
        "Teredo": (f"{_CLASSIFIED}[a Teredo server on loopback]", _LITERAL, _ANSWER),
        "ISATAP": (f"{_CLASSIFIED}[ISATAP loopback]",),
        "fec0::1": (f"{_CLASSIFIED}[site-local]", _LITERAL, _ANSWER),
        "fe80::1%eth0": (
            f"{_ODD_HOST}[an IPv6 zone]", f"{_CLASSIFIED}[link-local with a zone]",
            f"{_AUTHORITY}[a zone in the address]",
        ),
        "100.64/10": (f"{_CLASSIFIED}[carrier-grade NAT at its end]", _LITERAL, _ANSWER),
        "198.18/15": (f"{_CLASSIFIED}[benchmarking]", _LITERAL, _ANSWER),
        "240/4": (f"{_CLASSIFIED}[class E]", _LITERAL, _ANSWER),
        "192.0.0/24": (f"{_CLASSIFIED}[the rest of 192.0.0/24]", _LITERAL, _ANSWER),
        "224/4": (f"{_CLASSIFIED}[multicast at its end]", _LITERAL, _ANSWER),
        "ff00::/8": (f"{_CLASSIFIED}[IPv6 multicast]", _LITERAL, _ANSWER),
        "169.254.169.254": (f"{_CLASSIFIED}[cloud metadata]", f"{_AUTHORITY}[the metadata service]", _LITERAL, _ANSWER),
        "168.63.129.16": (f"{_CLASSIFIED}[Azure's wire server in global space]", _LITERAL, _ANSWER),
        "100.100.100.200": (f"{_CLASSIFIED}[Alibaba's metadata]", _LITERAL, _ANSWER),
        "fd00:ec2::254": (f"{_CLASSIFIED}[AWS metadata over IPv6]", _LITERAL, _ANSWER),
        "0.0.0.0": (f"{_CLASSIFIED}[unspecified]", _LITERAL, _ANSWER),
        "[::]": (f"{_CLASSIFIED}[IPv6 unspecified]", f"{_AUTHORITY}[unspecified]", _LITERAL, _ANSWER),
        "the gateway's own addresses": (
            "whitelist/test_address.py::test_own_address_is_forbidden_whatever_covers_it",
            f"{_AUTHORITY}[the gateway itself]", _LITERAL, _ANSWER,
        ),
        "every embedded form, against the registries": (
            "whitelist/test_address_properties.py::test_address_that_hides_loopback_or_metadata_is_never_reachable",
            "whitelist/test_address_properties.py::test_classifier_agrees_with_the_naive_reading",
            "whitelist/test_address.py::test_registry_entry_answers_at_its_edges_unless_a_narrower_one_does",
        ),
    },
    "DNS": {
        "rebinding between check and dial": (
            "gateway/test_resolver.py::test_rebinding_between_two_tunnels_is_refused_though_the_ttl_is_zero",
            "whitelist/test_address.py::test_only_check_makes_a_checked_address",
            "netns/test_dial.py::test_an_unchecked_address_is_refused",
        ),
        "public and private answers mixed": (
            "gateway/test_resolver.py::test_of_a_mixed_answer_only_what_was_checked_is_dialled",
        ),
        "CNAME into the inside": ("gateway/test_resolver.py::test_an_alias[into the inside]",),
        "TTL 0": ("gateway/test_resolver.py::test_rebinding_between_two_tunnels_is_refused_though_the_ttl_is_zero",),
        "clean A with dirty AAAA": (
            f"{_IN_RESOLVER}::test_a_clean_a_with_a_dirty_aaaa_goes_to_the_clean_one_even_if_the_dirty_one_is_first",
        ),
        "answers for another name": (
            "gateway/test_resolver.py::test_what_is_no_answer_to_the_question_is_passed_over[another name]",
            "gateway/test_resolver.py::test_an_alias[with an address of another name beside it]",
        ),
        "own queries by the default route": (
            "gateway/test_resolver.py::test_questions_go_from_the_lines_address_to_the_lines_resolver_only",
            "netns/test_dial.py::test_questions_go_to_the_lines_own_resolvers",
        ),
    },
    "names": {
        "one trailing dot": (
            f"{_NAME}[one trailing dot is dropped]", "gateway/test_session.py::test_the_same_name_with",
        ),
        "two trailing dots": (f"{_ODD_HOST}[two trailing dots]", f"{_AUTHORITY}[two trailing dots]", _ONE),
        "case": (f"{_NAME}[upper case is folded]", "gateway/test_session.py::test_the_same_name_with", _ONE),
        "suffix look-alikes": (
            f"{_AUTHORITY}[a name that looks alike at its end]", f"{_AUTHORITY}[a name that looks alike at its start]",
        ),
        "apex against *.": (f"{_AUTHORITY}[the apex of a wildcard]",),
        "full-width and ideographic dots": (
            f"{_ODD_HOST}[a full-width dot]", f"{_ODD_HOST}[an ideographic dot]",
            f"{_ODD_HOST}[an A-label of an ideographic dot]", _ONE,
        ),
        "soft hyphen": (f"{_ODD_HOST}[a soft hyphen]", f"{_ODD_HOST}[an A-label of a soft hyphen]", _ONE),
        "zero width": (f"{_ODD_HOST}[a zero width space]", f"{_ODD_HOST}[a zero width joiner out of place]", _ONE),
        "other characters that show nothing": (
            f"{_ODD_HOST}[a Hangul filler inside]", f"{_ODD_HOST}[a combining grapheme joiner]",
            f"{_ODD_HOST}[a tag character]",
        ),
        "faß.de": (
            f"{_NAME}[sharp s stays itself, not ss]", f"{_ODD_HOST}[a capital sharp s, which was two letters once]",
        ),
        "℀.com": (
            f"{_ODD_HOST}[the account-of sign, which holds a slash]", f"{_ODD_HOST}[an A-label of the account-of sign]",
        ),
        "look-alikes of slash and colon": (f"{_ODD_HOST}[a division slash]", f"{_ODD_HOST}[a modifier colon]"),
        "NUL inside": (f"{_SHAPE}[a NUL in the host]", _ONE),
        "underscore": (f"{_ODD_HOST}[an underscore]", f"{_AUTHORITY}[an underscore]"),
        "64-byte labels": (f"{_ODD_HOST}[a label of 64 bytes]", f"{_AUTHORITY}[a label of 64 octets]"),
        "254-byte names": (f"{_ODD_HOST}[a name of 254 bytes]", f"{_AUTHORITY}[a name of 254 octets]"),
        "xn-- that does not round-trip": (
            f"{_ODD_HOST}[an A-label of plain ASCII]", f"{_AUTHORITY}[an A-label that does not come back]",
        ),
        "comma in the authority": (f"{_ODD_HOST}[a comma]", f"{_AUTHORITY}[a comma]", _ONE),
        "userinfo in the authority": (f"{_SHAPE}[userinfo]", f"{_AUTHORITY}[userinfo]", _ONE),
    },
    "authority and Host": {
        "CONNECT host:": (f"{_AUTHORITY}[an empty port]", f"{_SHAPE}[no port after the colon]"),
        "host": (f"{_AUTHORITY}[no port]",),
        ":443": (f"{_AUTHORITY}[no host]",),
        "host:007": (f"{_AUTHORITY}[zeros before the port]",),
        "host:-12": (f"{_AUTHORITY}[a negative port]",),
        "host:https": (f"{_AUTHORITY}[a port by name]",),
        "host:91337": (f"{_AUTHORITY}[a port beyond the last]",),
        "digits of another script in the port": (f"{_SHAPE}[a port of Arabic digits]",),
        "[[::1]]:1": (f"{_AUTHORITY}[two brackets]",),
        "absolute URI whose host differs from Host": (
            "gateway/test_forward.py::test_is_refused_in_the_head[another Host]", f"{_HEAD}[another Host]",
        ),
        "two Hosts": (f"{_HEAD}[two Hosts]", f"{_SMUGGLED}[a second Host]"),
        "http://1.1.1.1 &@2.2.2.2# @3.3.3.3/": (f"{_URI}[three hosts in one]",),
        "http://a:80\\@b:80/": (f"{_URI}[a backslash before userinfo]",),
        "a fragment in the target": (f"{_URI}[a fragment]", "gateway/test_forward.py::test_a_target_with[a fragment]"),
    },
    "smuggling": {
        "Content-Length +1": (f"{_SMUGGLED}[Content-Length +1]",),
        "Content-Length 0x10": (f"{_SMUGGLED}[Content-Length 0x10]",),
        "Content-Length 1_0": (f"{_SMUGGLED}[Content-Length 1_0]",),
        "an empty Content-Length": (f"{_SMUGGLED}[an empty Content-Length]",),
        "two Content-Lengths": (f"{_SMUGGLED}[two different Content-Lengths]",),
        "Content-Length with Transfer-Encoding": (f"{_SMUGGLED}[CL.TE]", f"{_SMUGGLED}[TE.CL]"),
        "Transfer-Encoding: ,chunked": (f"{_SMUGGLED}[Transfer-Encoding ,chunked]",),
        "Transfer-Encoding: \\xa0chunked": (f"{_SMUGGLED}[Transfer-Encoding with a no-break space]",),
        "Transfer-Encoding: identity": (f"{_SMUGGLED}[Transfer-Encoding identity]",),
        "chunk size 0_2": (f"{_SMUGGLED}[chunk size 0_2]",),
        "chunk size +1": (f"{_SMUGGLED}[chunk size +1]",),
        "chunk size 0x1": (f"{_SMUGGLED}[chunk size 0x1]",),
        "an empty chunk size": (f"{_SMUGGLED}[an empty chunk size]",),
        "bare LF": (f"{_HEAD}[a bare LF]",),
        "bare CR": (f"{_HEAD}[a bare CR]",),
        "obs-fold": (f"{_HEAD}[a folded line]",),
        "space before the colon": (f"{_HEAD}[a space before the colon]",),
        "NUL or CR in a value": (f"{_HEAD}[a NUL in a value]",),
        "empty field name": (f"{_HEAD}[an empty field name]",),
        "forged hop-by-hop, X- and Proxy- fields": (
            "gateway/test_forward.py::test_hop_by_hop_and_forged_fields_do_not_leave",
            "gateway/test_smuggling.py::test_one_reading_goes_on[forged fields of proxies]",
        ),
        "bytes pipelined behind CONNECT": (
            "gateway/test_session.py::test_bytes_pipelined_behind_connect_arrive_behind_the_answer",
            "gateway/test_smuggling.py::test_bytes_behind_a_connect_are_not_part_of_it",
        ),
        "any of it, to careless readers behind": (
            "gateway/test_smuggling.py::test_every_later_reader_sees_exactly_one_request",
        ),
    },
    "state carried over": {
        "an upstream connection of another tenant": (
            "gateway/test_forward.py::test_another_firm_on_the_same_connection_gets_another_connection",
        ),
        "credentials revoked mid-tunnel": (f"{_CUT}[the credential is revoked]",),
        "a grant that expires mid-tunnel": ("gateway/test_enforce.py::test_tunnels_end_at_the_second_of_their",),
        "a grant that demands more of the hello mid-tunnel": (
            "gateway/test_hello_grants.py::test_a_tunnel_is_cut_that_could_not_begin_any_more",
        ),
        "a PROXY preamble from an untrusted peer": (f"{_HEAD}[a PROXY preamble from nobody]",),
        "a second request on a denied connection": (
            "gateway/test_session.py::test_nothing_is_read_as_a_request_behind_a_refusal",
            "gateway/test_forward.py::test_a_second_request_is_refused_and_then_nothing_more_is_read",
        ),
    },
    "TLS names": {
        "CONNECT good and SNI bad": (f"{_HELLO}[another name]",),
        "no SNI": (f"{_HELLO}[no name]", "gateway/test_hello_grants.py::test_passes[no name where none is asked for]"),
        "SNI an IP": (
            f"{_HELLO}[the service's address as name]",
            "gateway/test_hello_grants.py::test_is_refused[another address than the one dialled]",
        ),
        "ClientHello split over records": (f"{_PASSES}[in records of one octet]",),
        "ClientHello split over segments": (
            "gateway/test_session.py::test_a_hello_in_two_pieces_passes_wherever_it_is_cut",
        ),
        "one byte at a time": ("gateway/test_session.py::test_a_hello_byte_by_byte_passes_unchanged",),
        "ECH with a harmless outer name": (
            f"{_PASSES}[with ECH]", "gateway/test_hello_grants.py::test_is_refused[ECH]",
        ),
        "ECH that no server could read": (f"{_HELLO}[an encrypted hello that no server can read]",),
        "what is offered inside TLS": (
            "gateway/test_hello_grants.py::test_is_refused[one protocol too many for the web]",
        ),
        "SSH on 443": (f"{_HELLO}[SSH]",),
        "a hello that never ends": (
            "gateway/test_session.py::test_a_hello_that_never_ends_is_refused_in_time",
            "gateway/test_client_hello.py::test_a_hello_that_never_ends_is_bounded",
        ),
        "one name twice, two names at once": (f"{_HELLO}[the name twice]", f"{_READ}[two names in one list]"),
        "another name in a second hello, after a HelloRetryRequest": (
            "gateway/test_second_hello.py::test_after_a_retry[another name]",
        ),
        "another name in a second hello, ahead of the retry": (
            "gateway/test_second_hello.py::test_ahead_of_the_retry[behind early data]",
        ),
        "a memory of hellos that says another's": (
            "gateway/test_hello_memo.py::test_what_is_recognised_reads_the_same_in_full",
        ),
    },
    "lines": {
        "interface down": ("netns/test_keeper.py::test_a_line_without_carrier_is_down_and_up_again",),
        "interface deleted": ("netns/test_keeper.py::test_a_line_whose_device_is_made_anew_is_whole_again",),
        "interface renamed": (
            f"{_IN_TRAPS_LIFETIME}::test_a_socket_used_again_after_its_device_was_renamed_leaves_nowhere_else_without",
        ),
        "route or rule flushed": (_FLUSHED, _SWEEP),
        "nft table removed": (_FLUSHED, _LEAKS),
        "capabilities missing": (
            "netns/test_dial.py::test_without_capability_the_line_is_refused_and_nothing_leaves",
            f"{_IN_TRAPS_LIFETIME}::test_a_worker_that_loses_its_capability_opens_nothing_more_and_its_live_flows_stay",
        ),
        "IPv6 route where only IPv4 was meant": ("netns/test_dial.py::test_a_family_the_line_lacks_is_refused",),
        "ICMP redirects": (
            f"{_IN_TRAPS_NEIGHBOUR}::test_a_redirect_from_the_lines_neighbour_changes_nothing_while_sysctl_or_table_holds",
        ),
        "a gateway that carries nothing": (
            f"{_IN_PROBES}::test_a_line_with_carrier_that_carries_nothing_is_down_after_three_rounds_and_up_after_two",
        ),
    },
    "exhaustion": {
        "slow headers": (
            "gateway/test_session.py::test_slow_heads_are_refused_in_time_and_the_worker_serves_on", _BESIDE,
        ),
        "endless headers": (f"{_HEAD}[an endless head]",),
        "one byte a second through a tunnel": (
            "gateway/test_relay.py::test_one_byte_a_moment_keeps_a_tunnel_until_its_total_time",
        ),
        "half-open handshakes": (
            "gateway/test_session.py::test_of_too_many_handshakes_of_one_source_the_oldest_are_refused",
            "gateway/test_worker.py::test_a_flood_leaves_no_descriptor_no_memory_and_no_open_flow",
            _BESIDE, f"{_IN_FLOOD}::test_an_honest_client_is_served_beside_all_of_them_at_once",
            f"{_IN_FLOOD}::test_honest_clients_are_served_while_a_flood_goes_on",
            "acceptance/test_flood.py::test_programs_are_served_while_a_flood_of_their_own_source_stands",
        ),
        "half PROXY headers": (_BESIDE,),
        "many sources": (_BESIDE, "gateway/test_crowd.py::test_what_counts_as_one_source"),
        "refusals that nobody reads": (
            f"{_IN_FLOOD}::test_honest_clients_are_served_while_a_flood_goes_on[refusals that nobody reads]",
        ),
        "idle connections": (
            f"{_IN_FLOOD}::test_connections_between_two_requests_leave_for_an_honest_client",
        ),
        "one user that takes all of its firm's tunnels": (
            f"{_IN_FLOOD}::test_one_user_cannot_take_all_of_its_firms_tunnels",
        ),
        "pipes used up": (
            f"{_IN_FLOOD}::test_with_pipes_used_up_an_honest_transfer_is_whole",
            "gateway/test_relay.py::test_without_pipes_a_transfer_is_whole_all_the_same",
        ),
        "descriptors used up": (
            f"{_IN_WORKER}::test_with_all_descriptors_used_up_accepting_pauses_live_tunnels_go_on_and_it_recovers",
            f"{_IN_FLOOD}::test_with_descriptors_used_up_those_who_only_wait_leave_for_an_honest_client",
        ),
        "a stranger filling the spool": (
            f"{_IN_STRANGERS}::test_many_sources_write_no_more_than_the_total_and_every_refusal_is_counted",
        ),
        "disk full": (f"{_IN_SPOOL}::test_on_a_full_disk_the_reserve_takes_closing_records_and_space_heals_it",),
        "spool at its limit": (
            f"{_IN_WORKER}::test_with_the_spool_at_its_limit_new_flows_are_refused_live_ones_go_on_and_it_recovers",
        ),
        "a client that never reads": ("gateway/test_relay.py::test_a_client_that_never_reads_is_ended_by_idleness",),
        "names that clients make up": (
            "whitelist/test_snapshot.py::test_hosts_that_clients_make_up_do_not_fill_the_memory",
        ),
    },
    "people": {
        "editing the snapshot on disk": ("whitelist/test_snapshot.py::test_what_is_damaged_or_missing_is_not_used",),
        "replaying an old signed revision": ("whitelist/test_snapshot.py::test_a_policy_of_before_is_not_taken_back",),
        "restoring an old register": (
            "ops/test_api_faults.py::test_an_older_register_put_back_goes_on_behind_the_published_revision",
        ),
        "truncating the log": ("telemetry/test_recorder_faults.py::test_a_log_that_was_cut_behind_our_back_is_told",),
    },
}  # fmt: skip

OPEN = {
    "clock stepped back and forward": "a clock that is not trusted becomes a state of its own",
    "root approving alone; two accounts of one person; approving one's own request": "approvals",
    "deleting, reordering the evidence; restoring an old backup of the log": "the evidence log with its witnesses",
}
