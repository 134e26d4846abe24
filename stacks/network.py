"""A party's network: a VPC that can reach the AWS services in use, through VPC endpoints, and nothing else.

A request through an endpoint must be signed with credentials of the party's own account, so that a hijacked trainer
can't send data out with somebody else's credentials. Buckets, queues and experiments are also limited by name.
"""

from collections.abc import Mapping, Sequence

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_route53resolver as resolver
from constructs import Construct

from fedsilo import names
from fedsilo.config.add_ons import ADD_ONS
from fedsilo.config.federation import Federation, Party, Silo
from stacks import grants
from stacks.base import PartyStack
from stacks.log_bucket import LogBucket
from stacks.nag import acknowledge

_SERVICES = ec2.InterfaceVpcEndpointAwsService
_INTERFACES: Mapping[str, tuple[ec2.InterfaceVpcEndpointAwsService, Sequence[str]]] = {
    "EcrApi": (_SERVICES.ECR, ["ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]),
    "EcrDkr": (_SERVICES.ECR_DOCKER, ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]),
    "Ec2": (_SERVICES.EC2, ["ec2:*"]),
    "Sts": (_SERVICES.STS, ["sts:*"]),
    "Eks": (_SERVICES.EKS, ["eks:*"]),
    "EksAuth": (_SERVICES.EKS_AUTH, ["eks-auth:*"]),
    "Lambda": (_SERVICES.LAMBDA_, ["lambda:InvokeFunction", "lambda:GetFunction"]),
    "Sqs": (_SERVICES.SQS, ["sqs:*"]),
    "SageMakerApi": (_SERVICES.SAGEMAKER_API, ["sagemaker:*"]),
    "SageMakerMetrics": (_SERVICES.SAGEMAKER_METRICS, ["sagemaker:BatchPutMetrics"]),
}
"""The interface endpoints of an isolated party, and the actions that each allows. The list has only what a private
cluster needs, because each endpoint costs: https://docs.aws.amazon.com/eks/latest/userguide/private-clusters.html."""

ADD_ONS_INTERFACES: Mapping[str, tuple[ec2.InterfaceVpcEndpointAwsService, Sequence[str]]] = {
    "Logs": (_SERVICES.CLOUDWATCH_LOGS, ["logs:*"]),
    "Monitoring": (_SERVICES.CLOUDWATCH_MONITORING, ["cloudwatch:*"]),
}
"""The interface endpoints of add-ons (``AddOn.endpoints``): only a party that asks for the add-on has them."""

_S3_ACTIONS = (
    "GetObject", "GetObjectVersion", "PutObject", "PutObjectTagging", "AbortMultipartUpload", "ListBucket",
)  # fmt: skip
"""What a party does with its own data and in the mail bucket."""

_AWS_DOMAINS = ["*.amazonaws.com", "*.api.aws", "*.internal"]
"""The domains of VPC endpoints and instances. No other name is resolved, because DNS can carry data out too."""

_VPC_ACKNOWLEDGED = {
    "CloudFormation-Validate::W3010": "zones come from the spec, so that synth does not ask AWS",
}
_NAT_ACKNOWLEDGED = {
    "HIPAA.Security-VPCNoUnrestrictedRouteToIGW": "egress: nat; the NAT gateway's subnet needs the route",
}


class NetworkStack(PartyStack):
    """The VPC, its endpoints and its flow logs."""

    def __init__(self, scope: Construct, *, federation: Federation, party: Party) -> None:
        super().__init__(
            scope,
            party.name,
            "network",
            federation=federation,
            party=party,
            description=f"network of {party.name}",
        )
        self._federation = federation
        self._endpoint_zones = party.availability_zones[: party.endpoint_zones]
        self.logs = LogBucket(self, "Logs", removal_policy=self.removal)
        self.vpc = self._make_isolated() if party.egress == "endpoints" else self._make_with_nat()
        self.vpc.add_flow_log("Flow", destination=ec2.FlowLogDestination.to_s3(self.logs, "flow/"))
        self._make_s3_endpoint()
        if party.egress == "endpoints":
            self._make_interface_endpoints()
            self._make_dns_firewall()

    @property
    def availability_zones(self) -> list[str]:
        """The zones of the spec. CDK would ask AWS at synth (https://docs.aws.amazon.com/cdk/v2/guide/context.html)."""
        return [*self.party.availability_zones]

    def _make_isolated(self) -> ec2.Vpc:
        private = ec2.SubnetConfiguration(name="private", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED)
        return self._make_vpc([private], nat_gateways=0)

    def _make_with_nat(self) -> ec2.Vpc:
        public = ec2.SubnetConfiguration(
            name="nat", subnet_type=ec2.SubnetType.PUBLIC, cidr_mask=28, map_public_ip_on_launch=False
        )
        private = ec2.SubnetConfiguration(name="private", subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS)
        vpc = self._make_vpc([public, private], nat_gateways=len(self._endpoint_zones))
        acknowledge(vpc, _NAT_ACKNOWLEDGED)
        return vpc

    def _make_vpc(self, subnets: Sequence[ec2.SubnetConfiguration], *, nat_gateways: int) -> ec2.Vpc:
        vpc = ec2.Vpc(
            self,
            "Vpc",
            vpc_name=names.cluster(self._federation.name, self.party.name),
            ip_addresses=ec2.IpAddresses.cidr(self.party.vpc_cidr),
            availability_zones=self.availability_zones,
            subnet_configuration=subnets,
            nat_gateways=nat_gateways,
            restrict_default_security_group=True,
        )
        acknowledge(vpc, _VPC_ACKNOWLEDGED)
        return vpc

    def _make_s3_endpoint(self) -> None:
        """Make the gateway endpoint of S3. It costs nothing, so a party with a NAT gateway has it as well.

        In mlops mode it allows everything: FedML keeps models in its own buckets and issues credentials for them.
        """
        region = self.party.region
        endpoint = self.vpc.add_gateway_endpoint("S3", service=ec2.GatewayVpcEndpointAwsService.S3)
        if self._federation.control_plane == "mlops":
            return
        buckets = [
            grants.HubResources.of(self._federation).bucket_name,
            names.data_bucket(self._federation.name, self.party.name, self.account, region),
        ]
        endpoint.add_to_policy(
            self._own_credentials(
                [f"s3:{action}" for action in _S3_ACTIONS],
                [names.bucket_arn(bucket, key) for bucket in buckets for key in (None, "*")],
            )
        )
        if isinstance(self.party, Silo):
            store = names.store_bucket(self._federation.name, self.party.name, self.account)
            endpoint.add_to_policy(
                self._own_credentials(
                    [*grants.OWN_STORE_ACTIONS, "s3:ListBucket"],
                    [names.bucket_arn(store), names.bucket_arn(store, "*")],
                )
            )
        # Two of AWS's own buckets, reached through URLs that AWS has signed: ECR's, with the layers of images, and
        # CloudFormation's, to which the kubectl function reports.
        endpoint.add_to_policy(
            iam.PolicyStatement(
                principals=[iam.StarPrincipal()],
                actions=["s3:GetObject"],
                resources=[names.bucket_arn(f"prod-{region}-starport-layer-bucket", "*")],
            )
        )
        endpoint.add_to_policy(
            iam.PolicyStatement(
                principals=[iam.StarPrincipal()],
                actions=["s3:PutObject"],
                resources=[names.bucket_arn(f"cloudformation-custom-resource-response-{region.replace('-', '')}", "*")],
            )
        )

    def _make_interface_endpoints(self) -> None:
        """Make the interface endpoints. They share one security group, which keeps the stack small."""
        security_group = ec2.SecurityGroup(
            self, "Endpoints", vpc=self.vpc, description="HTTPS from the VPC to its endpoints", allow_all_outbound=False
        )
        security_group.add_ingress_rule(ec2.Peer.ipv4(self.party.vpc_cidr), ec2.Port.tcp(443))
        of_add_ons = {id_ for name in self.party.add_ons for id_ in ADD_ONS[name].endpoints}
        interfaces = {**_INTERFACES, **{id_: ADD_ONS_INTERFACES[id_] for id_ in sorted(of_add_ons)}}
        for id_, (service, actions) in interfaces.items():
            endpoint = self.vpc.add_interface_endpoint(
                id_,
                service=service,
                subnets=ec2.SubnetSelection(availability_zones=[*self._endpoint_zones]),
                security_groups=[security_group],
                open=False,
            )
            for statement in self._allowed_through(id_, actions):
                endpoint.add_to_policy(statement)

    def _allowed_through(self, endpoint: str, actions: Sequence[str]) -> list[iam.PolicyStatement]:
        """The statements of an endpoint's policy."""
        if endpoint == "Sqs":
            hub = grants.HubResources.of(self._federation)
            return [self._own_credentials(actions, [hub.data_queue("*"), hub.control_queue("*")])]
        if endpoint.startswith("SageMaker"):
            experiment = names.experiment(self._federation.name, self.party.rank)
            own = names.experiment_arns(experiment, self.account, self.party.region)
            search = [self._own_credentials(["sagemaker:Search"], ["*"])] if endpoint == "SageMakerApi" else []
            return [self._own_credentials(actions, own), *search]
        return [self._own_credentials(actions, ["*"])]

    def _own_credentials(self, actions: Sequence[str], resources: Sequence[str]) -> iam.PolicyStatement:
        return iam.PolicyStatement(
            principals=[iam.StarPrincipal()],
            actions=[*actions],
            resources=[*resources],
            conditions={"StringEquals": {"aws:PrincipalAccount": self.account}},
        )

    def _make_dns_firewall(self) -> None:
        """Let names of AWS be resolved and no others: a looked-up name can carry data out of the VPC."""
        allowed, others = (
            resolver.CfnFirewallDomainList(self, id_, domains=domains)
            for id_, domains in (("AwsDomains", _AWS_DOMAINS), ("AllDomains", ["*"]))
        )
        rules = resolver.CfnFirewallRuleGroup(
            self,
            "DnsRules",
            firewall_rules=[
                resolver.CfnFirewallRuleGroup.FirewallRuleProperty(
                    action="ALLOW", firewall_domain_list_id=allowed.attr_id, priority=1
                ),
                resolver.CfnFirewallRuleGroup.FirewallRuleProperty(
                    action="BLOCK", block_response="NXDOMAIN", firewall_domain_list_id=others.attr_id, priority=2
                ),
            ],
        )
        resolver.CfnFirewallRuleGroupAssociation(
            self, "DnsFirewall", firewall_rule_group_id=rules.attr_id, priority=101, vpc_id=self.vpc.vpc_id
        )
