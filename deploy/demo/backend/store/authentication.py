"""Who may log in, what the tokens say of a user, and that a token of somebody who was suspended is worth nothing."""

from rest_framework.exceptions import AuthenticationFailed
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.serializers import TokenObtainPairSerializer

from store.serializers import MeSerializer


def may_log_in(user):
    return user is not None and user.may_work


class ActiveUserAuthentication(JWTAuthentication):
    def get_user(self, validated_token):
        user = super().get_user(validated_token)
        if not user.may_work:
            raise AuthenticationFailed("This account is not active.", code="user_inactive")
        return user


class TokenSerializer(TokenObtainPairSerializer):
    """Both tokens, and the user as /api/me/ shows them."""

    @classmethod
    def get_token(cls, user):
        token = super().get_token(user)
        token["username"] = user.username
        token["full_name"] = user.full_name
        token["role"] = user.role_name
        return token

    def validate(self, attrs):
        return {**super().validate(attrs), "user": MeSerializer(self.user).data}
