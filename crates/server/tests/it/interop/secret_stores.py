"""A cloud that others wrote: PyPI `moto` as a server, which checks every request's signature
with botocore's own. It keeps what the tests ask for, tells them how to ask, and ends with its
standard input."""

import base64
import json
import sys
import urllib.request

import boto3
from moto.server import ThreadedMotoServer

REGION = "eu-central-1"
URL = "postgresql://bank:hush-9137@db.example/bank"


def allowed(client, user, actions):
    client.create_user(UserName=user)
    statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    client.put_user_policy(UserName=user, PolicyName="all", PolicyDocument=json.dumps(policy))
    key = client.create_access_key(UserName=user)["AccessKey"]
    return {"id": key["AccessKeyId"], "secret": key["SecretAccessKey"]}


def assumed(iam, sts, role, actions):
    trusted = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}
    trust = {"Version": "2012-10-17", "Statement": [trusted]}
    arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    iam.put_role_policy(RoleName=role, PolicyName="all", PolicyDocument=json.dumps(policy))
    key = sts.assume_role(RoleArn=arn, RoleSessionName="tests")["Credentials"]
    return {
        "id": key["AccessKeyId"],
        "secret": key["SecretAccessKey"],
        "token": key["SessionToken"],
    }


def main():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = "http://%s:%d" % server.get_host_and_port()

    def client(service):
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=endpoint,
            aws_access_key_id="setting-up",
            aws_secret_access_key="setting-up",
        )

    secrets, kms, iam = client("secretsmanager"), client("kms"), client("iam")
    reading = ["secretsmanager:GetSecretValue", "kms:Decrypt"]
    secrets.create_secret(Name="prod/database", SecretString=URL)
    several = json.dumps({"url": URL, "port": 5432})
    secrets.create_secret(Name="prod/several", SecretString=several)
    secrets.create_secret(Name="prod/binary", SecretBinary=URL.encode())
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    root = bytes((7 * byte + 3) % 256 for byte in range(32))
    encrypted = kms.encrypt(KeyId=key, Plaintext=root)["CiphertextBlob"]
    told = {
        "endpoint": endpoint,
        "region": REGION,
        "url": URL,
        "root": root.hex(),
        "ciphertext": base64.b64encode(encrypted).decode(),
        "reader": allowed(iam, "reader", reading),
        "session": assumed(iam, client("sts"), "machine", reading),
        "stranger": allowed(iam, "stranger", ["s3:ListBucket"]),
    }
    # Signatures and permissions are checked from here on.
    request = urllib.request.Request(
        endpoint + "/moto-api/reset-auth", data=b"0", headers={"Content-Type": "text/plain"}
    )
    urllib.request.urlopen(request).read()
    print(json.dumps(told), flush=True)
    sys.stdin.read()
    server.stop()


main()
