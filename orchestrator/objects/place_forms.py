"""Forms of places, Site and Zone, and of what a tenant may take of them."""

from typing import Literal, Self

from pydantic import Field, model_validator

from orchestrator.model.specs import SiteKind
from orchestrator.objects.fields import (
    Cores,
    Document,
    Jurisdiction,
    MemoryMib,
    Metadata,
    Name,
    NamespacedMetadata,
    NotNegative,
    Positive,
    Strict,
    refuse,
)


class Quota(Strict):
    """A region's capacity; of an edge site the most that is used of what its nodes offer."""

    memory_mib: MemoryMib
    cores: Cores


class SiteFields(Strict):
    kind: SiteKind
    jurisdiction: Jurisdiction = Field(description="where the site is by law; policies name it in residency")
    failure_domain: Name | None = Field(default=None, description="what fails together; default: the site's name")
    hardware_class: Name = Field(
        default="any", description="a fact for policies' expressions, and which profile of a variant holds here"
    )
    price_usd_per_hour: NotNegative = Field(default=0.0, description="of one full core")
    egress_usd_per_gb: NotNegative = Field(default=0.0, description="of calls' bytes that leave the site")
    link_in_mbps: Positive | None = Field(default=None, description="what calls from outside may bring in")
    link_out_mbps: Positive | None = Field(default=None, description="what answers to outside may take out")
    front_mbps: Positive | None = Field(default=None, description="of one front of a region, both ways summed")
    quota: Quota | None = Field(default=None, description="required for a region; caps an edge site")

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.kind is SiteKind.REGION and self.quota is None:
            raise refuse("give a region its quota: {memory_mib: 4096, cores: 4}", "quota")
        if self.kind is SiteKind.EDGE and self.front_mbps is not None:
            raise refuse("fronts stand in regions: give it there, or use link_in_mbps", "front_mbps", self.front_mbps)
        return self


class Site(Document):
    """A place that holds replicas: one or more edge nodes on one LAN, or a region's pool of one hardware class."""

    kind: Literal["Site"]
    metadata: Metadata
    spec: SiteFields


class ZoneFields(Strict):
    region: Name | None = Field(default=None, description="callers enter at this region's fronts")
    site: Name | None = Field(default=None, description="callers enter at this site's agent, on its LAN")

    @model_validator(mode="after")
    def _one_entry(self) -> Self:
        if (self.region is None) == (self.site is None):
            raise refuse("give exactly one of region and site", "region" if self.region is None else "site", self.site)
        return self


class Zone(Document):
    """Where requests come from."""

    kind: Literal["Zone"]
    metadata: Metadata
    spec: ZoneFields


class TenantQuotaFields(Strict):
    memory_mib: MemoryMib | None = Field(default=None, description="of all replicas of the namespace, over all sites")
    cores: Cores | None = Field(default=None, description="of all replicas of the namespace, over all sites")

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.memory_mib is None and self.cores is None:
            raise refuse("give memory_mib, cores or both", "memory_mib")
        return self


class TenantQuota(Document):
    """The most that the replicas of its namespace take together. Several in one namespace all hold."""

    kind: Literal["TenantQuota"]
    metadata: NamespacedMetadata
    spec: TenantQuotaFields
