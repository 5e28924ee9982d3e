"""Objects as operators write them."""

ZONE = """\
apiVersion: skerry.dev/v1alpha1
kind: Zone
metadata: {name: plant, labels: {team: vision}}
spec: {region: local}
"""
SITE = """\
apiVersion: skerry.dev/v1alpha1
kind: Site
metadata: {name: harbour, labels: {team: ops}}
spec: {kind: edge, jurisdiction: EU}
"""
SERVICE = """\
apiVersion: skerry.dev/v1alpha1
kind: ModelService
metadata: {name: digits}
spec:
  model: digits
  policy: line
  demand: [{zone: plant, rate_rps: 10, request_bytes: 400, response_bytes: 40}]
"""
JOB = """\
apiVersion: skerry.dev/v1alpha1
kind: TrainingJob
metadata: {name: digits-1}
spec: {model: digits, recipe: digits-cnn, epochs: 3}
"""
