"""feiyu policy fmt lays a file out in one way, keeps its comments and what it means, and changes nothing twice."""

import pytest

from ops.policyfile.found import FilesError
from ops.policyfile.layout import formatted

MESSY = """\
# What acme may reach.

feiyu: policy/1   # the format
grants:   # its grants
# for the buyers
- tenant: acme  # the firm
  service: shop # what
  weekdays: mon,tue,wed,thu,fri
- {tenant: acme, service: arxiv, purpose: "a # b", lines: [hk1]}   # beside
defaults: {lines: [hk1], from: 2026-01-01, until: 2027-01-01}
services:
  - {endpoints: ["tls://arxiv.org:443","tls://*.arxiv.org:443,8443"], id: arxiv, name: "no"}
# the end
"""
NEAT = """\
# What acme may reach.
feiyu: policy/1  # the format
defaults: {lines: [hk1], from: 2026-01-01, until: 2027-01-01}

services:
  - {id: arxiv, name: "no", endpoints: [tls://arxiv.org:443, "tls://*.arxiv.org:443,8443"]}

grants:  # its grants
  # for the buyers
  # the firm
  # what
  - {tenant: acme, service: shop, weekdays: mon-fri}
  - {tenant: acme, service: arxiv, purpose: "a # b"}  # beside
# the end
"""


def test_sections_and_keys_have_one_order_and_every_comment_stays_with_its_entry() -> None:
    assert formatted("acme.yaml", MESSY) == NEAT


def test_what_is_laid_out_stays_as_it_is() -> None:
    assert formatted("acme.yaml", NEAT) == NEAT


def test_a_file_that_cannot_be_read_is_not_laid_out() -> None:
    with pytest.raises(FilesError, match=r"acme.yaml:2: unknown key 'grant'; expected 'grants', perhaps"):
        formatted("acme.yaml", "feiyu: policy/1\ngrant: []\n")
