"""The switch's errors: their names, as ovs-ofctl prints them (a test compares), and what the frequent ones mean.

Source: OpenFlow 1.5.1 section 7.5.4 for the numbers; Open vSwitch include/openvswitch/ofp-errors.h for the extensions.
"""


def _names(prefix: str, names: str) -> tuple[str, ...]:
    return tuple(f"{prefix}_{name}" for name in names.split())


NAMES: dict[int, tuple[str, ...]] = {
    0: _names("OFPHFC", "INCOMPATIBLE EPERM"),
    1: _names(
        "OFPBRC",
        "BAD_VERSION BAD_TYPE BAD_STAT BAD_VENDOR BAD_SUBTYPE EPERM BAD_LEN BUFFER_EMPTY BUFFER_UNKNOWN "
        "BAD_TABLE_ID IS_SECONDARY BAD_PORT BAD_PACKET MULTIPART_BUFFER_OVERFLOW MULTIPART_REQUEST_TIMEOUT "
        "MULTIPART_REPLY_TIMEOUT MULTIPART_BAD_SCHED PIPELINE_FIELDS_ONLY UNKNOWN",
    ),
    2: _names(
        "OFPBAC",
        "BAD_TYPE BAD_LEN BAD_VENDOR BAD_VENDOR_TYPE BAD_OUT_PORT BAD_ARGUMENT EPERM TOO_MANY BAD_QUEUE "
        "BAD_OUT_GROUP MATCH_INCONSISTENT UNSUPPORTED_ORDER BAD_TAG BAD_SET_TYPE BAD_SET_LEN BAD_SET_ARGUMENT "
        "BAD_SET_MASK BAD_METER",
    ),
    3: _names(
        "OFPBIC",
        "UNKNOWN_INST UNSUP_INST BAD_TABLE_ID UNSUP_METADATA UNSUP_METADATA_MASK BAD_EXPERIMENTER "
        "BAD_EXP_TYPE BAD_LEN EPERM DUP_INST",
    ),
    4: _names(
        "OFPBMC",
        "BAD_TYPE BAD_LEN BAD_TAG BAD_DL_ADDR_MASK BAD_NW_ADDR_MASK BAD_WILDCARDS BAD_FIELD BAD_VALUE "
        "BAD_MASK BAD_PREREQ DUP_FIELD EPERM",
    ),
    5: _names(
        "OFPFMFC",
        "UNKNOWN TABLE_FULL BAD_TABLE_ID OVERLAP EPERM BAD_TIMEOUT BAD_COMMAND BAD_FLAGS CANT_SYNC "
        "BAD_PRIORITY IS_SYNC",
    ),
    6: _names(
        "OFPGMFC",
        "GROUP_EXISTS INVALID_GROUP WEIGHT_UNSUPPORTED OUT_OF_GROUPS OUT_OF_BUCKETS CHAINING_UNSUPPORTED "
        "WATCH_UNSUPPORTED LOOP UNKNOWN_GROUP CHAINED_GROUP BAD_TYPE BAD_COMMAND BAD_BUCKET BAD_WATCH EPERM "
        "UNKNOWN_BUCKET BUCKET_EXISTS",
    ),
    10: _names("OFPSCFC", "BAD_FLAGS BAD_LEN EPERM"),
    12: _names(
        "OFPMMFC",
        "UNKNOWN METER_EXISTS INVALID_METER UNKNOWN_METER BAD_COMMAND BAD_FLAGS BAD_RATE BAD_BURST BAD_BAND "
        "BAD_BAND_VALUE OUT_OF_METERS OUT_OF_BANDS",
    ),
    14: _names(
        "OFPBPC", "BAD_TYPE BAD_LEN BAD_VALUE TOO_MANY DUP_TYPE BAD_EXPERIMENTER BAD_EXP_TYPE BAD_EXP_VALUE EPERM"
    ),
    17: _names(
        "OFPBFC",
        "UNKNOWN EPERM BAD_ID BUNDLE_EXIST BUNDLE_CLOSED OUT_OF_BUNDLES BAD_TYPE BAD_FLAGS MSG_BAD_LEN "
        "MSG_BAD_XID MSG_UNSUP MSG_CONFLICT MSG_TOO_MANY MSG_FAILED TIMEOUT BUNDLE_IN_PROGRESS "
        "SCHED_NOT_SUPPORTED SCHED_FUTURE SCHED_PAST",
    ),
}
"""By type; the codes of each type count from 0."""

NICIRA_NAMES = {
    2: "NXBRC_NXM_INVALID",
    3: "NXBRC_NXM_BAD_TYPE",
    4: "NXBRC_MUST_BE_ZERO",
    11: "NXBAC_MUST_BE_ZERO",
    12: "NXFMFC_HARDWARE",
    13: "NXFMFC_BAD_TABLE_ID",
    15: "NXBAC_BAD_CONJUNCTION",
    34: "NXR_NOT_SUPPORTED",
    35: "NXR_STALE",
    42: "NXBAC_CT_DATAPATH_SUPPORT",
    43: "NXBMC_CT_DATAPATH_SUPPORT",
}
"""Errors of Open vSwitch's extensions that our flows, groups, meters and packet-outs can cause."""

MEANINGS = {
    "OFPBMC_BAD_PREREQ": "a field is matched without those it needs, such as dl_type before nw_src",
    "OFPBMC_DUP_FIELD": "a field is matched twice",
    "OFPBMC_BAD_WILDCARDS": "a value has bits outside of its mask",
    "OFPBMC_BAD_VALUE": "a field is matched with a value it cannot have",
    "OFPBMC_BAD_FIELD": "the switch does not know a field",
    "OFPBAC_BAD_OUT_PORT": "an action sends to a port number that cannot be",
    "OFPBAC_BAD_OUT_GROUP": "an action sends to a group that does not exist",
    "OFPBAC_BAD_METER": "an action names a meter that does not exist",
    "OFPBAC_MATCH_INCONSISTENT": "an action sets a field that the match does not make sure of",
    "OFPBAC_BAD_SET_ARGUMENT": "an action sets a field that is read-only, or to a value it cannot have",
    "OFPBAC_BAD_ARGUMENT": "an action has an argument it cannot have",
    "OFPBIC_BAD_TABLE_ID": "goto_table goes backwards, or past the last table",
    "OFPFMFC_TABLE_FULL": "the table is full",
    "OFPFMFC_BAD_TABLE_ID": "there is no such table",
    "NXBAC_BAD_CONJUNCTION": "conjunction beside other actions, or not 1 <= clause <= clauses, 2 <= clauses <= 64",
    "OFPBFC_BAD_ID": "the switch has forgotten the bundle: it was not written on for ten seconds",
    "OFPBFC_MSG_UNSUP": "this kind of message is not taken in a bundle: send it before",
    "OFPBFC_MSG_FAILED": "one of the bundle's messages failed",
    "NXR_STALE": "the packet to resume is not held any more",
}
