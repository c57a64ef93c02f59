"""`python -m sluice.services.rule_compiler`."""

from sluice.runtime import service
from sluice.services.rule_compiler.app import SERVICE, main
from sluice.services.rule_compiler.settings import RuleCompilerSettings

service.run(SERVICE, RuleCompilerSettings, main)
